# Ruby's memcached clients for ../matrix. usage: ruby adapter.rb CLIENT PORT; ../README.md has what is read and answered.
# A class lacks what it has no method for.

require 'logger'

class DalliClient
  def initialize(port)
    require 'dalli'
    # It would warn on the standard output, which is ours.
    Dalli.logger = Logger.new(File::NULL)
    @c = Dalli::Client.new("127.0.0.1:#{port}", **options)
  end

  def options = {}

  # Raw, so that what is set can be appended to and counted.
  def set(key, value, ttl) = @c.set(key, value, ttl.to_i, raw: true)
  def add(key, value) = @c.add(key, value, 0, raw: true)
  def replace(key, value) = @c.replace(key, value, 0, raw: true)
  def append(key, value) = @c.append(key, value)
  def prepend(key, value) = @c.prepend(key, value)
  def get(key) = @c.get(key)
  def getmulti(*keys) = @c.get_multi(*keys)

  def gets(key)
    value, @unique = @c.get_cas(key)
    value
  end

  def cas(key, value) = @c.set_cas(key, value, @unique, 0, raw: true)
  def incr(key, number) = @c.incr(key, number.to_i)
  def decr(key, number) = @c.decr(key, number.to_i)
  def incrinit(key, number, initial) = @c.incr(key, number.to_i, 0, initial.to_i)
  def delete(key) = @c.delete(key)
  def touch(key, ttl) = @c.touch(key, ttl.to_i)
  def gat(key, ttl) = @c.gat(key, ttl.to_i)
  def flush = @c.flush.all?
  def stats = @c.stats.values.first.keys
  def version = @c.version.values.first
end

class DalliMeta < DalliClient
  def options = { protocol: :meta }
end

# Rails' cache, in which every error is a miss and logged: the log is looked at.
class RailsCache
  def initialize(port)
    require 'active_support'
    require 'active_support/cache'
    require 'active_support/cache/mem_cache_store'
    require 'stringio'
    @log = StringIO.new
    logger = Logger.new(@log, level: Logger::WARN, formatter: ->(_, _, _, message) { "#{message}\n" })
    Dalli.logger = ActiveSupport::Cache::Store.logger = logger
    @c = ActiveSupport::Cache::MemCacheStore.new("127.0.0.1:#{port}")
  end

  def said(result)
    log = @log.string
    @log.reopen(String.new)
    raise log unless log.empty?

    result
  end

  def set(key, value, ttl) = said(@c.write(key, value, expires_in: ttl.to_i.zero? ? nil : ttl.to_i))
  def add(key, value) = said(@c.write(key, value, unless_exist: true))
  def get(key) = said(@c.read(key))
  def getmulti(*keys) = said(@c.read_multi(*keys))
  def delete(key) = said(@c.delete(key))

  def flush
    @c.clear
    said(true)
  end
end

# What is counted in Rails' cache has to be written raw.
class RailsCounters < RailsCache
  def set(key, value, ttl) = said(@c.write(key, value, raw: true, expires_in: ttl.to_i.zero? ? nil : ttl.to_i))
  def add(key, value) = said(@c.write(key, value, raw: true, unless_exist: true))
  def get(key) = said(@c.read(key, raw: true))
  def getmulti(*keys) = said(@c.read_multi(*keys, raw: true))
  def incr(key, number) = said(@c.increment(key, number.to_i))
  def decr(key, number) = said(@c.decrement(key, number.to_i))
end

# A session each key, made and read by requests to an application; the session's cookie is remembered by key.
class RackSessions
  def initialize(port)
    require 'rack'
    require 'rack/session/dalli'
    Dalli.logger = Logger.new(File::NULL)
    @cookies = {}
    application = lambda do |env|
      name, value = env['work']
      session = env['rack.session']
      case name
      when 'set' then session['value'] = value
      when 'incr' then session['value'] = (session['value'].to_i + value.to_i).to_s if session['value']
      when 'delete' then session.destroy
      end
      [200, {}, [name == 'delete' ? nil : session['value']]]
    end
    @application = Rack::Session::Dalli.new(application, memcache_server: "127.0.0.1:#{port}")
  end

  def request(key, *work)
    environment = Rack::MockRequest.env_for('/', 'HTTP_COOKIE' => @cookies[key].to_s)
    environment['work'] = work
    errors = environment['rack.errors']
    _, headers, body = @application.call(environment)
    raise errors.string unless errors.string.empty?

    @cookies[key] = headers['Set-Cookie'].split(';').first if headers['Set-Cookie']
    body.first
  end

  def set(key, value, ttl)
    raise NotImplementedError if ttl.to_i == 1

    request(key, 'set', value) == value
  end

  def get(key) = request(key, 'get')
  def incr(key, number) = request(key, 'incr', number)

  def delete(key)
    request(key, 'delete')
    true
  end
end

CLIENTS = {
  'dalli' => DalliClient, 'dalli-3-meta' => DalliMeta, 'dalli-5' => DalliClient,
  'rack-session-dalli' => RackSessions, 'rack-session-dalli-5' => RackSessions,
  'rails' => RailsCache, 'rails-raw' => RailsCounters
}.freeze

def words(kind, *rest)
  [kind, *rest.map { |word| word.to_s.unpack1('H*') }].join("\t")
end

def answer(name, result)
  case name
  when 'getmulti' then words('values', *result.sort.flatten)
  when 'stats' then words('names', *result)
  when 'get', 'gets', 'gat', 'version' then result.nil? ? 'none' : words('value', result)
  when 'incr', 'decr', 'incrinit' then result ? words('number', result) : 'none'
  else result ? 'yes' : 'no'
  end
end

client = CLIENTS.fetch(ARGV[0]).new(ARGV[1].to_i)
$stdout.sync = true
while (line = $stdin.gets)
  name, *given = line.chomp.split("\t", -1)
  given.map! { |word| [word].pack('H*').force_encoding('UTF-8') }
  begin
    has = [client.class, client.class.superclass].any? { |one| one != Object && one.public_method_defined?(name, false) }
    reply = has ? answer(name, client.public_send(name, *given)) : 'lacks'
  rescue NotImplementedError
    reply = 'lacks'
  rescue StandardError => e
    reply = words('error', "#{e.class}: #{e.message}")
  end
  puts reply
end
