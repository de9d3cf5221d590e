<?php
/* PHP's memcached clients for ../matrix. usage: php adapter.php CLIENT PORT; ../README.md has what is read and answered.
   A class lacks what it has no method for. */

class MemcachedText {
    protected $c;
    protected $unique = 0.0;
    protected $binary = false;

    function __construct($port) {
        $this->c = new Memcached();
        $this->c->setOption(Memcached::OPT_BINARY_PROTOCOL, $this->binary);
        // Compressed values cannot be appended to.
        $this->c->setOption(Memcached::OPT_COMPRESSION, false);
        $this->c->addServer('127.0.0.1', $port);
    }

    // The codes that are an answer; every other one is an error.
    protected function said($result) {
        $fine = [Memcached::RES_SUCCESS, Memcached::RES_NOTFOUND, Memcached::RES_NOTSTORED, Memcached::RES_DATA_EXISTS,
                 Memcached::RES_END];
        if (!in_array($this->c->getResultCode(), $fine, true)) {
            throw new Exception($this->c->getResultCode() . ' ' . $this->c->getResultMessage());
        }
        return $result;
    }

    function set($key, $value, $ttl) { return $this->said($this->c->set($key, $value, (int)$ttl)); }
    function add($key, $value) { return $this->said($this->c->add($key, $value)); }
    function replace($key, $value) { return $this->said($this->c->replace($key, $value)); }
    function append($key, $value) { return $this->said($this->c->append($key, $value)); }
    function prepend($key, $value) { return $this->said($this->c->prepend($key, $value)); }
    function get($key) { return $this->said($this->c->get($key)); }
    function getmulti(...$keys) { return $this->said($this->c->getMulti($keys)); }
    function gets($key) {
        $found = $this->said($this->c->get($key, null, Memcached::GET_EXTENDED));
        $this->unique = $found['cas'] ?? 0;
        return $found['value'] ?? false;
    }
    function cas($key, $value) { return $this->said($this->c->cas($this->unique, $key, $value)); }
    function incr($key, $number) { return $this->said($this->c->increment($key, (int)$number)); }
    function decr($key, $number) { return $this->said($this->c->decrement($key, (int)$number)); }
    function delete($key) { return $this->said($this->c->delete($key)); }
    function touch($key, $ttl) { return $this->said($this->c->touch($key, (int)$ttl)); }
    function flush() { return $this->said($this->c->flush()); }
    function stats() { return array_keys(array_values($this->said($this->c->getStats()))[0]); }
    function version() { return array_values($this->said($this->c->getVersion()))[0]; }
}

class MemcachedBinary extends MemcachedText {
    protected $binary = true;
    function incrinit($key, $number, $initial) {
        return $this->said($this->c->increment($key, (int)$number, (int)$initial));
    }
}

class MemcacheText {
    protected $c;
    protected $unique = 0;
    protected $protocol = 'ascii';

    function __construct($port) {
        ini_set('memcache.protocol', $this->protocol);
        $this->c = new Memcache();
        // One that it has no good answer of it asks again at once, not after 15 seconds.
        $this->c->addServer('127.0.0.1', $port, true, 1, 10, 0);
        // The 500 KB are to go over the wire as they are.
        $this->c->setCompressThreshold(0);
    }

    function set($key, $value, $ttl) { return $this->c->set($key, $value, 0, (int)$ttl); }
    function add($key, $value) { return $this->c->add($key, $value); }
    function replace($key, $value) { return $this->c->replace($key, $value); }
    function append($key, $value) { return $this->c->append($key, $value); }
    function prepend($key, $value) { return $this->c->prepend($key, $value); }
    function get($key) { return $this->c->get($key); }
    function getmulti(...$keys) { return $this->c->get($keys) ?: []; }
    function gets($key) {
        $flags = $unique = 0;
        $value = $this->c->get($key, $flags, $unique);
        $this->unique = $unique;
        return $value;
    }
    function cas($key, $value) { return $this->c->cas($key, $value, 0, 0, $this->unique); }
    function incr($key, $number) { return $this->c->increment($key, (int)$number); }
    function decr($key, $number) { return $this->c->decrement($key, (int)$number); }
    function delete($key) { return $this->c->delete($key); }
    function flush() { return $this->c->flush(); }
    function stats() { return array_keys($this->c->getStats()); }
    function version() { return $this->c->getVersion(); }
}

class MemcacheBinary extends MemcacheText {
    protected $protocol = 'binary';
}

/* A session each key: what is set is a variable in it. Each opening locks it, with the handler's defaults. */
class Sessions {
    protected $handler = 'memcached';

    function __construct($port) {
        ini_set('session.save_handler', $this->handler);
        ini_set('session.save_path', $this->path($port));
        ini_set('session.use_cookies', '0');
        ini_set('session.cache_limiter', '');
    }

    protected function path($port) { return "127.0.0.1:$port"; }

    protected function open($key, $options = []) {
        session_id($key);
        if (!session_start($options)) {
            throw new Exception('session_start failed');
        }
    }

    protected function close() {
        if (!session_write_close()) {
            throw new Exception('session_write_close failed');
        }
        $_SESSION = [];
        return true;
    }

    // It has no time to live of its own.
    function set($key, $value, $ttl) {
        ini_set('session.gc_maxlifetime', $ttl ?: '1440');
        $this->open($key);
        $_SESSION['value'] = $value;
        return $this->close();
    }

    function get($key) {
        $this->open($key);
        $value = $_SESSION['value'] ?? false;
        $this->close();
        return $value;
    }

    function incr($key, $number) {
        $this->open($key);
        $count = $_SESSION['value'] ?? false;
        if ($count !== false) {
            $_SESSION['value'] = $count = (int)$count + $number;
        }
        $this->close();
        return $count;
    }

    function delete($key) {
        $this->open($key);
        if (!session_destroy()) {
            throw new Exception('session_destroy failed');
        }
        return true;
    }
}

class MemcacheSessions extends Sessions {
    protected $handler = 'memcache';
    protected function path($port) { return "tcp://127.0.0.1:$port"; }
}

$classes = ['php-memcached' => 'MemcachedText', 'php-memcached-binary' => 'MemcachedBinary', 'php-memcache' => 'MemcacheText',
            'php-memcache-binary' => 'MemcacheBinary', 'php-sessions' => 'Sessions',
            'php-memcache-sessions' => 'MemcacheSessions'];
ini_set('display_errors', 'stderr');
ini_set('log_errors', '0');
// A notice or a warning is an error here: PHP tells a server's trouble in one.
set_error_handler(function ($level, $message) { throw new ErrorException($message, 0, $level); }, E_ALL & ~E_DEPRECATED);
error_reporting(E_ALL & ~E_DEPRECATED);
$client = new $classes[$argv[1]]((int)$argv[2]);

function words(...$words) {
    return implode("\t", [$words[0], ...array_map('bin2hex', array_map('strval', array_slice($words, 1)))]);
}

function answer($name, $result) {
    if ($name === 'getmulti') {
        $result = $result ?: [];
        ksort($result, SORT_STRING);
        $pairs = [];
        foreach ($result as $key => $value) {
            array_push($pairs, $key, $value);
        }
        return words('values', ...$pairs);
    }
    if ($name === 'stats') {
        return words('names', ...$result);
    }
    if (in_array($name, ['get', 'gets', 'version'], true)) {
        return $result === false ? 'none' : words('value', $result);
    }
    if (in_array($name, ['incr', 'decr', 'incrinit'], true)) {
        return $result === false ? 'none' : words('number', $result);
    }
    return $result ? 'yes' : 'no';
}

while (($line = fgets(STDIN)) !== false) {
    $words = explode("\t", rtrim($line, "\n"));
    $name = array_shift($words);
    try {
        $reply = method_exists($client, $name) ? answer($name, $client->$name(...array_map('hex2bin', $words))) : 'lacks';
    } catch (Throwable $error) {
        $reply = words('error', get_class($error) . ': ' . $error->getMessage());
    }
    fwrite(STDOUT, "$reply\n");
}
