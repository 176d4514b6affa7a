// Signs one URL for Warren. The standard library is enough.
//
//	sign [--scheme hs256|sha256|md5] [--form query|path] [--ip ADDRESS] PATH EXPIRES [NAME=VALUE ...]
//
// CDN_BASE_URL and CDN_SECURITY_KEY come from the environment.
package main

import (
	"crypto/md5"
	"flag"
	"log"
	"os"
)

// docs/backend.md begins

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// Options is what a URL may say besides path and expiry.
type Options struct {
	Params map[string]string // token_path, limit, token_countries, your own
	Scheme string            // "hs256" or "sha256"
	Form   string            // "query" or "path"
	IP     netip.Addr        // the zero value: any viewer
}

// Sign takes the object's name, decoded, and Unix seconds.
func Sign(base, key, path string, expires int64, o Options) (string, error) {
	if key == "" || expires < 1e9 || expires >= 1e10 {
		return "", errors.New("a key, and an expiry of ten digits of seconds, are needed")
	}
	var names, signed, sent []string
	for name := range o.Params {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		signed = append(signed, name+"="+o.Params[name])
		sent = append(sent, "&"+name+"="+escape(o.Params[name]))
	}
	covered := path
	if folder, ok := o.Params["token_path"]; ok {
		covered = folder
	}
	message := covered + strconv.FormatInt(expires, 10)
	params := strings.Join(signed, "&")
	address, text, prefix := o.IP.Unmap(), "", "HS256-"
	if address.IsValid() {
		text, prefix = address.String(), "HS256-1-"
	}
	var digest []byte
	if o.Scheme == "sha256" {
		sum := sha256.Sum256([]byte(key + message + text + params))
		digest, prefix = sum[:], ""
	} else {
		octets := address.AsSlice()
		for i := 8; i < len(octets); i++ {
			octets[i] = 0 // of IPv6 the first 64 bits count
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(message + string(octets) + params))
		digest = mac.Sum(nil)
	}
	token := prefix + base64.RawURLEncoding.EncodeToString(digest)
	target := strings.ReplaceAll(escape(path), "%2F", "/")
	rest := fmt.Sprintf("%s%s&expires=%d", token, strings.Join(sent, ""), expires)
	if o.Form == "path" {
		return base + "/bcdn_token=" + rest + target, nil
	}
	return base + target + "?token=" + rest, nil
}

func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// docs/backend.md ends

// SignMD5 is the oldest scheme: one object, in the query, and nothing else can be said.
func SignMD5(base, key, path string, expires int64) (string, error) {
	if key == "" || expires < 1e9 || expires >= 1e10 {
		return "", errors.New("a key, and an expiry of ten digits of seconds, are needed")
	}
	digest := md5.Sum([]byte(key + path + strconv.FormatInt(expires, 10)))
	token := base64.RawURLEncoding.EncodeToString(digest[:])
	target := strings.ReplaceAll(escape(path), "%2F", "/")
	return fmt.Sprintf("%s%s?token=%s&expires=%d", base, target, token, expires), nil
}

func main() {
	o := Options{Params: map[string]string{}}
	flag.StringVar(&o.Scheme, "scheme", "hs256", "hs256, sha256 or md5")
	flag.StringVar(&o.Form, "form", "query", "query or path")
	ip := flag.String("ip", "", "the viewer's address")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("PATH and EXPIRES are needed")
	}
	expires, err := strconv.ParseInt(flag.Arg(1), 10, 64)
	if err == nil && *ip != "" {
		o.IP, err = netip.ParseAddr(*ip)
	}
	for _, pair := range flag.Args()[2:] {
		at := strings.Index(pair, "=")
		if at < 0 {
			log.Fatalf("%q is not name=value", pair)
		}
		o.Params[pair[:at]] = pair[at+1:]
	}
	if err != nil {
		log.Fatal(err)
	}
	base := strings.TrimRight(os.Getenv("CDN_BASE_URL"), "/")
	key, path := os.Getenv("CDN_SECURITY_KEY"), flag.Arg(0)
	var signed string
	if o.Scheme != "md5" {
		signed, err = Sign(base, key, path, expires, o)
	} else if o.Form == "path" || o.IP.IsValid() || len(o.Params) > 0 {
		log.Fatal("MD5 signs one object in the query, without an address and parameters")
	} else {
		signed, err = SignMD5(base, key, path, expires)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed)
}
