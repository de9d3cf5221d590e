// Go's gomemcache for ../matrix. usage: adapter CLIENT PORT; ../README.md has what is read and answered.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func words(kind string, rest ...string) string {
	line := kind
	for _, word := range rest {
		line += "\t" + hex.EncodeToString([]byte(word))
	}
	return line
}

// said makes a word of an error that is only a no.
func said(err error) (string, error) {
	switch err {
	case nil:
		return "yes", nil
	case memcache.ErrNotStored, memcache.ErrCacheMiss, memcache.ErrCASConflict:
		return "no", nil
	}
	return "", err
}

func number(count uint64, err error) (string, error) {
	if err == memcache.ErrCacheMiss {
		return "none", nil
	}
	return words("number", strconv.FormatUint(count, 10)), err
}

func main() {
	client := memcache.New("127.0.0.1:" + os.Args[2])
	client.Timeout = 10 * time.Second
	// What `gets` read, for `cas`: the unique cannot be seen.
	var seen *memcache.Item
	carryOut := func(name string, a []string) (string, error) {
		switch name {
		case "set":
			ttl, _ := strconv.Atoi(a[2])
			return said(client.Set(&memcache.Item{Key: a[0], Value: []byte(a[1]), Expiration: int32(ttl)}))
		case "add":
			return said(client.Add(&memcache.Item{Key: a[0], Value: []byte(a[1])}))
		case "replace":
			return said(client.Replace(&memcache.Item{Key: a[0], Value: []byte(a[1])}))
		case "get", "gets":
			item, err := client.Get(a[0])
			if name == "gets" && item != nil {
				seen = item
			}
			if err == memcache.ErrCacheMiss {
				return "none", nil
			}
			if err != nil {
				return "", err
			}
			return words("value", string(item.Value)), nil
		case "getmulti":
			items, err := client.GetMulti(a)
			keys := []string{}
			for key := range items {
				keys = append(keys, key)
			}
			sort.Strings(keys)
			pairs := []string{}
			for _, key := range keys {
				pairs = append(pairs, key, string(items[key].Value))
			}
			return words("values", pairs...), err
		case "cas":
			seen.Value = []byte(a[1])
			return said(client.CompareAndSwap(seen))
		case "incr", "decr":
			delta, _ := strconv.ParseUint(a[1], 10, 64)
			if name == "incr" {
				return number(client.Increment(a[0], delta))
			}
			return number(client.Decrement(a[0], delta))
		case "delete":
			return said(client.Delete(a[0]))
		case "touch":
			ttl, _ := strconv.Atoi(a[1])
			return said(client.Touch(a[0], int32(ttl)))
		case "flush":
			return said(client.FlushAll())
		}
		return "lacks", nil
	}
	input := bufio.NewReader(os.Stdin)
	for {
		line, err := input.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		given := []string{}
		for _, field := range fields[1:] {
			word, _ := hex.DecodeString(field)
			given = append(given, string(word))
		}
		reply, err := carryOut(fields[0], given)
		if err != nil {
			reply = words("error", err.Error())
		}
		fmt.Println(reply)
	}
}
