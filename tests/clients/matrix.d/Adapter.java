// Java's spymemcached for ../matrix. usage: java -cp JAR Adapter.java CLIENT PORT; ../README.md has what is read and answered.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import net.spy.memcached.CASResponse;
import net.spy.memcached.CASValue;
import net.spy.memcached.ConnectionFactoryBuilder;
import net.spy.memcached.MemcachedClient;

public class Adapter {
    private final MemcachedClient c;
    private final boolean binary;
    private long unique;

    private Adapter(boolean binary, int port) throws Exception {
        this.binary = binary;
        var builder = new ConnectionFactoryBuilder()
            .setProtocol(binary ? ConnectionFactoryBuilder.Protocol.BINARY : ConnectionFactoryBuilder.Protocol.TEXT)
            .setOpTimeout(10_000);
        c = new MemcachedClient(builder.build(), List.of(new InetSocketAddress("127.0.0.1", port)));
    }

    private static String words(String kind, Object... rest) {
        var line = new StringBuilder(kind);
        for (Object word : rest) {
            line.append('\t').append(HexFormat.of().formatHex(word.toString().getBytes(StandardCharsets.UTF_8)));
        }
        return line.toString();
    }

    private static String value(Object found) {
        return found == null ? "none" : words("value", found);
    }

    private static String said(boolean done) {
        return done ? "yes" : "no";
    }

    private static String number(long count) {
        return count == -1 ? "none" : words("number", count);
    }

    private String carryOut(String name, List<String> a) throws Exception {
        switch (name) {
            case "set": return said(c.set(a.get(0), Integer.parseInt(a.get(2)), a.get(1)).get());
            case "add": return said(c.add(a.get(0), 0, a.get(1)).get());
            case "replace": return said(c.replace(a.get(0), 0, a.get(1)).get());
            case "append": return said(c.append(a.get(0), a.get(1)).get());
            case "prepend": return said(c.prepend(a.get(0), a.get(1)).get());
            case "get": return value(c.get(a.get(0)));
            case "getmulti": {
                var words = new ArrayList<Object>();
                new TreeMap<>(c.getBulk(a)).forEach((key, found) -> words.addAll(List.of(key, found)));
                return words("values", words.toArray());
            }
            case "gets": {
                CASValue<Object> found = c.gets(a.get(0));
                unique = found == null ? 0 : found.getCas();
                return value(found == null ? null : found.getValue());
            }
            case "cas": return said(c.cas(a.get(0), unique, a.get(1)) == CASResponse.OK);
            case "incr": return number(c.incr(a.get(0), Long.parseLong(a.get(1))));
            case "decr": return number(c.decr(a.get(0), Long.parseLong(a.get(1))));
            case "incrinit": return number(c.incr(a.get(0), Long.parseLong(a.get(1)), Long.parseLong(a.get(2))));
            case "delete": return said(c.delete(a.get(0)).get());
            // In the text protocol it cannot.
            case "touch": return binary ? said(c.touch(a.get(0), Integer.parseInt(a.get(1))).get()) : "lacks";
            case "gat": {
                if (!binary) {
                    return "lacks";
                }
                CASValue<Object> found = c.getAndTouch(a.get(0), Integer.parseInt(a.get(1)));
                return value(found == null ? null : found.getValue());
            }
            case "flush": return said(c.flush().get());
            case "stats": return words("names", c.getStats().values().iterator().next().keySet().toArray());
            case "version": return words("value", c.getVersions().values().iterator().next());
            default: return "lacks";
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("net.spy.log.LoggerImpl", "net.spy.memcached.compat.log.SunLogger");
        java.util.logging.Logger.getLogger("net.spy.memcached").setLevel(java.util.logging.Level.SEVERE);
        var adapter = new Adapter(arguments[0].endsWith("-binary"), Integer.parseInt(arguments[1]));
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = input.readLine()) != null; ) {
            var fields = line.split("\t", -1);
            var given = new ArrayList<String>();
            for (int index = 1; index < fields.length; index++) {
                given.add(new String(HexFormat.of().parseHex(fields[index]), StandardCharsets.UTF_8));
            }
            String reply;
            try {
                reply = adapter.carryOut(fields[0], given);
            } catch (Exception error) {
                reply = words("error", error);
            }
            System.out.println(reply);
            System.out.flush();
        }
        System.exit(0);
    }
}
