"""The status page: plain HTML, CSS and JavaScript under `static/`, fed by a websocket. It changes nothing."""
