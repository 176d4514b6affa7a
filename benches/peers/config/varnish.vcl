vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "@ORIGIN@"; }
sub vcl_recv { set req.url = regsub(req.url, "\?.*$", ""); unset req.http.Cookie; return (hash); }
sub vcl_hash { hash_data(req.url); return (lookup); }
sub vcl_backend_response { set beresp.ttl = 1h; set beresp.grace = 60s; }
