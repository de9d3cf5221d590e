// Node's memcached clients for ../matrix. usage: node adapter.js CLIENT PORT; ../README.md has what is read and answered.
// A client lacks what its object has no function for. The packages are found by NODE_PATH.
'use strict';
const readline = require('readline');

const [name, port] = process.argv.slice(2);
const server = `127.0.0.1:${port}`;
let unique;

function memjs() {
  const c = require('memjs').Client.create(server, { logger: { log() {} } });
  return {
    set: (key, value, ttl) => c.set(key, value, { expires: Number(ttl) }),
    add: (key, value) => c.add(key, value, {}),
    replace: (key, value) => c.replace(key, value, {}),
    append: (key, value) => c.append(key, value),
    prepend: (key, value) => c.prepend(key, value),
    get: async (key) => (await c.get(key)).value,
    incrinit: async (key, number, initial) => (await c.increment(key, Number(number), { initial: Number(initial) })).value,
    delete: (key) => c.delete(key),
    touch: (key, ttl) => c.touch(key, Number(ttl)),
    flush: () => new Promise((resolve, reject) => c.flush((error, results) => (error ? reject(error) : resolve(results)))),
    stats: () =>
      new Promise((resolve, reject) => c.stats((error, _, stats) => (error ? reject(error) : resolve(Object.keys(stats))))),
  };
}

function memcached() {
  const c = new (require('memcached'))(server, { timeout: 10000 });
  const call = (operation, ...given) =>
    new Promise((resolve, reject) => {
      // A refusal comes as an error too.
      c[operation](...given, (error, result) => {
        if (error && !/not stored|exists/i.test(String(error.message || error))) reject(error);
        else resolve(result);
      });
    });
  return {
    set: (key, value, ttl) => call('set', key, value, Number(ttl)),
    add: (key, value) => call('add', key, value, 0),
    replace: (key, value) => call('replace', key, value, 0),
    append: (key, value) => call('append', key, value),
    prepend: (key, value) => call('prepend', key, value),
    get: (key) => call('get', key),
    getmulti: (...keys) => call('getMulti', keys),
    gets: async (key) => {
      const found = await call('gets', key);
      unique = found && found.cas;
      return found && found[key];
    },
    cas: (key, value) => call('cas', key, value, unique, 0),
    incr: (key, number) => call('incr', key, Number(number)),
    decr: (key, number) => call('decr', key, Number(number)),
    delete: (key) => call('del', key),
    touch: (key, ttl) => call('touch', key, Number(ttl)),
    flush: async () => (await call('flush')).every(Boolean),
    stats: async () => Object.keys((await call('stats'))[0]),
    version: async () => (await call('version'))[0].version,
  };
}

function memcacheClient() {
  const c = new (require('memcache-client').MemcacheClient)({ server, cmdTimeout: 10000 });
  // A refusal comes as an error.
  const said = (promise) =>
    promise.then(
      (answer) => !/NOT_STORED|NOT_FOUND|EXISTS/.test(String(answer)),
      (error) => {
        if (/NOT_STORED|NOT_FOUND|EXISTS/.test(String(error.message || error))) return false;
        throw error;
      },
    );
  return {
    set: (key, value, ttl) => said(c.set(key, value, { lifetime: Number(ttl) })),
    add: (key, value) => said(c.add(key, value, { lifetime: 0 })),
    replace: (key, value) => said(c.replace(key, value, { lifetime: 0 })),
    append: (key, value) => said(c.append(key, value)),
    prepend: (key, value) => said(c.prepend(key, value)),
    get: async (key) => (await c.get(key))?.value,
    getmulti: async (...keys) =>
      Object.fromEntries(Object.entries((await c.get(keys)) || {}).map(([key, found]) => [key, found.value])),
    gets: async (key) => {
      const found = await c.gets(key);
      unique = found?.casUniq;
      return found?.value;
    },
    cas: (key, value) => said(c.cas(key, value, { casUniq: unique, lifetime: 0 })),
    incr: (key, number) => c.incr(key, Number(number)),
    decr: (key, number) => c.decr(key, Number(number)),
    delete: (key) => said(c.delete(key)),
    touch: (key, ttl) => said(c.touch(key, ttl)),
    stats: async () => (await c.cmd('stats')).STAT.map(([statistic]) => statistic),
    version: async () => String(await c.version()).split(/[ ,]/).pop(),
  };
}

// This one makes a miss of every error on a read.
function memcache() {
  const { Memcache } = require('memcache');
  const c = new Memcache({ nodes: [server], timeout: 10000 });
  return {
    set: (key, value, ttl) => c.set(key, value, Number(ttl)),
    add: (key, value) => c.add(key, value),
    replace: (key, value) => c.replace(key, value),
    append: (key, value) => c.append(key, value),
    prepend: (key, value) => c.prepend(key, value),
    get: (key) => c.get(key),
    getmulti: async (...keys) => Object.fromEntries(await c.gets(keys)),
    incr: (key, number) => c.incr(key, Number(number)),
    decr: (key, number) => c.decr(key, Number(number)),
    delete: (key) => c.delete(key),
    touch: (key, ttl) => c.touch(key, Number(ttl)),
    flush: () => c.flush(),
    stats: async () => Object.keys([...(await c.stats()).values()][0]),
    version: async () => String([...(await c.version()).values()][0]).replace(/^VERSION /, ''),
  };
}

const clients = { 'node-memjs': memjs, 'node-memcached': memcached, 'node-memcache-client': memcacheClient, 'node-memcache': memcache };
const client = clients[name]();

function words(kind, ...rest) {
  return [kind, ...rest.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(String(word))).toString('hex'))].join('\t');
}

function answer(operation, result) {
  const nothing = result === undefined || result === null || result === false;
  switch (operation) {
    case 'getmulti':
      return words('values', ...Object.entries(result || {}).filter(([, value]) => value !== undefined).sort().flat());
    case 'stats':
      return words('names', ...result);
    case 'get':
    case 'gets':
    case 'version':
      return nothing ? 'none' : words('value', result);
    case 'incr':
    case 'decr':
    case 'incrinit':
      return nothing ? 'none' : words('number', result);
    default:
      return result ? 'yes' : 'no';
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const [operation, ...given] = line.split('\t');
    let reply = 'lacks';
    if (client[operation]) {
      try {
        reply = answer(operation, await client[operation](...given.map((word) => Buffer.from(word, 'hex').toString())));
      } catch (error) {
        reply = words('error', error.message || error);
      }
    }
    process.stdout.write(`${reply}\n`);
  }
  process.exit(0);
}

main();
