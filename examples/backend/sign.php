#!/usr/bin/env php
<?php
// Signs one URL for Warren. PHP's own functions are enough.
//
// sign.php [--scheme=hs256|sha256|md5] [--form=query|path] [--ip=ADDRESS] PATH EXPIRES [NAME=VALUE ...]
//
// CDN_BASE_URL and CDN_SECURITY_KEY come from the environment.
declare(strict_types=1);

// docs/backend.md begins
// $path is the object's name, decoded; $expires Unix seconds; $params texts.
function sign(string $base, string $key, string $path, int $expires, array $params = [],
    string $scheme = 'hs256', string $form = 'query', string $ip = ''): string
{
    if ($key === '' || $expires < 10 ** 9 || $expires >= 10 ** 10) {
        throw new InvalidArgumentException('a key, and an expiry of ten digits of seconds, are needed');
    }
    ksort($params, SORT_STRING);
    $pathAndTime = ($params['token_path'] ?? $path) . $expires;
    $signed = $sent = [];
    foreach ($params as $name => $value) {
        $signed[] = "$name=$value";
        $sent[] = "&$name=" . rawurlencode($value);
    }
    [$signed, $sent] = [implode('&', $signed), implode('', $sent)];
    $octets = $ip === '' ? '' : inet_pton($ip);
    if (str_starts_with($octets, str_repeat("\0", 10) . "\xff\xff")) {
        $octets = substr($octets, 12); // IPv4, as an IPv6 socket sees it
    }
    if ($scheme === 'hs256') { // of IPv6 the first 64 bits count
        $counted = str_pad(substr($octets, 0, 8), strlen($octets), "\0");
        $digest = hash_hmac('sha256', $pathAndTime . $counted . $signed, $key, true);
        $prefix = $ip === '' ? 'HS256-' : 'HS256-1-';
    } else {
        $text = $ip === '' ? '' : inet_ntop($octets);
        $digest = hash('sha256', $key . $pathAndTime . $text . $signed, true);
        $prefix = '';
    }
    $token = $prefix . rtrim(strtr(base64_encode($digest), '+/', '-_'), '=');
    $target = str_replace('%2F', '/', rawurlencode($path));
    return $form === 'path'
        ? "$base/bcdn_token=$token$sent&expires=$expires$target"
        : "$base$target?token=$token$sent&expires=$expires";
}
// docs/backend.md ends

// The oldest scheme: one object, in the query, and nothing else can be said.
function sign_md5(string $base, string $key, string $path, int $expires): string
{
    if ($key === '' || $expires < 10 ** 9 || $expires >= 10 ** 10) {
        throw new InvalidArgumentException('a key, and an expiry of ten digits of seconds, are needed');
    }
    $token = rtrim(strtr(base64_encode(hash('md5', $key . $path . $expires, true)), '+/', '-_'), '=');
    return $base . str_replace('%2F', '/', rawurlencode($path)) . "?token=$token&expires=$expires";
}

$options = getopt('', ['scheme:', 'form:', 'ip:'], $rest);
[$path, $expires] = array_slice($argv, $rest, 2);
$params = [];
foreach (array_slice($argv, $rest + 2) as $pair) {
    [$name, $value] = explode('=', $pair, 2);
    $params[$name] = $value;
}
[$base, $key] = [rtrim((string) getenv('CDN_BASE_URL'), '/'), (string) getenv('CDN_SECURITY_KEY')];
[$scheme, $form, $ip] = [$options['scheme'] ?? 'hs256', $options['form'] ?? 'query', $options['ip'] ?? ''];
if ($scheme === 'md5' && ($form === 'path' || $ip !== '' || $params !== [])) {
    throw new InvalidArgumentException('MD5 signs one object in the query, without an address and parameters');
}
echo $scheme === 'md5' ? sign_md5($base, $key, $path, (int) $expires)
    : sign($base, $key, $path, (int) $expires, $params, $scheme, $form, $ip), "\n";
