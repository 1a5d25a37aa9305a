"""A venue on 127.0.0.1 that speaks Binance spot's protocol, and keeps the truth of everything it sent."""
