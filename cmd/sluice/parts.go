package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/config"
	"sluice/internal/engine"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/postgres"
	"sluice/internal/postgres/embedded"
	"sluice/internal/signing"
)

// databaseURL is the address of the database: the site file's, else the
// environment's, else "" for the embedded one.
func databaseURL(site *config.Site) (string, error) {
	dsn, err := site.DatabaseURL()
	if dsn == "" {
		dsn = os.Getenv("DATABASE_URL")
	}
	return dsn, err
}

// openDatabase opens the site's database, or starts the embedded one.
func openDatabase(ctx context.Context, site *config.Site, log *slog.Logger) (database, error) {
	dsn, err := databaseURL(site)
	if err != nil {
		return database{}, err
	}
	var d database
	if dsn == "" {
		if d.embedded, err = embedded.Start(ctx, filepath.Join(site.Data, "postgres"), log); err != nil {
			return d, err
		}
		dsn = d.embedded.DSN()
	}
	if d.store, err = postgres.Open(ctx, dsn); err != nil {
		d.close()
	}
	return d, err
}

// fetcher is how the service reaches the world: proxies and certificates.
type fetcher struct {
	http     *http.Client
	proxy    string
	noProxy  string
	caBundle string
}

func newFetcher(site *config.Site) (*fetcher, error) {
	f := &fetcher{noProxy: strings.Join(site.Fetch.NoProxy, ","), caBundle: site.Fetch.CABundle}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	if !site.Fetch.Proxy.IsZero() {
		text, err := site.Fetch.Proxy.Reveal()
		if err != nil {
			return nil, fmt.Errorf("fetch.proxy: %w", err)
		}
		proxy, err := url.Parse(text)
		if err != nil {
			return nil, errors.New("fetch.proxy is not a URL")
		}
		f.proxy = text
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if direct(r.URL.Hostname(), site.Fetch.NoProxy) {
				return nil, nil
			}
			return proxy, nil
		}
	}
	if f.caBundle != "" {
		pem, err := os.ReadFile(f.caBundle)
		if err != nil {
			return nil, fmt.Errorf("fetch.ca_bundle: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("fetch.ca_bundle: %s holds no certificate in PEM form", f.caBundle)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	f.http = &http.Client{Transport: transport}
	return f, nil
}

// direct reports whether a host is reached without the proxy.
func direct(host string, noProxy []string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1" || slices.ContainsFunc(noProxy, func(n string) bool {
		n = strings.TrimPrefix(n, "*")
		return host == strings.TrimPrefix(n, ".") || strings.HasSuffix(host, "."+strings.TrimPrefix(n, "."))
	})
}

func newGerrit(g config.Gerrit, f *fetcher) (*gerrit.Client, error) {
	token, err := g.Token.Reveal()
	if err != nil {
		return nil, fmt.Errorf("token of Gerrit %s: %w", g.Name, err)
	}
	return gerrit.New(gerrit.Config{URL: g.URL, User: g.User, Token: token, HTTP: f.http, Timeout: g.Timeout.D(), SubmitTimeout: 10 * g.Timeout.D()})
}

// newReader is a Gerrit's client with the eyes of everybody who is shown what is
// made here; nil: they see all that is not private.
func newReader(g config.Gerrit, f *fetcher) (engine.Reader, error) {
	switch g.Public {
	case "gate":
		return nil, nil
	case "reader":
		token, err := g.Reader.Token.Reveal()
		if err != nil {
			return nil, fmt.Errorf("token of the reader of Gerrit %s: %w", g.Name, err)
		}
		return gerrit.New(gerrit.Config{URL: g.URL, User: g.Reader.User, Token: token, HTTP: f.http})
	}
	return gerrit.New(gerrit.Config{URL: g.URL, HTTP: f.http})
}

// newStream prepares to listen to a Gerrit's events; what to do with them is the caller's.
func newStream(g config.Gerrit) (*gerrit.Stream, error) {
	key, err := gerrit.ReadKey(g.Key.Path(), nil)
	if err != nil {
		return nil, fmt.Errorf("SSH key of Gerrit %s: %w", g.Name, err)
	}
	return &gerrit.Stream{
		Addr: g.SSH, User: g.User, Key: key, HostKeys: gerrit.KnownHosts(g.KnownHosts), MaxWait: 15 * time.Second,
		OnEvent: func(context.Context, gerrit.Event) error { return nil },
	}, nil
}

// remotes says where each project is fetched from.
func remotes(site *config.Site, f *fetcher) (func(git.Project) git.Remote, error) {
	type access struct{ url, user, password string }
	byName := map[string]access{}
	for _, g := range site.Gerrit {
		token, err := g.Token.Reveal()
		if err != nil {
			return nil, fmt.Errorf("token of Gerrit %s: %w", g.Name, err)
		}
		byName[g.Name] = access{strings.TrimSuffix(g.URL, "/") + "/a/", g.User, token}
	}
	return func(p git.Project) git.Remote {
		a := byName[p.Gerrit]
		return git.Remote{
			Project: p, URL: a.url + p.Name, User: a.user, Password: a.password,
			Proxy: f.proxy, NoProxy: f.noProxy, CABundle: f.caBundle,
		}
	}, nil
}

// signer loads a key, or makes it where the site lets that be.
func signer(site *config.Site, secret config.Secret, fallback, name string) (*signing.Signer, error) {
	path := secret.Path()
	if path == "" {
		path = filepath.Join(site.Data, "keys", fallback+".asc")
	}
	key, err := signing.Load(path, nil)
	if errors.Is(err, os.ErrNotExist) && site.Keys.Generate {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if key, err = signing.Generate(signing.Template{Name: name}, time.Now()); err != nil {
			return nil, err
		}
		if err := key.Save(path, nil, time.Now()); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("key of the %s repositories: %w", fallback, err)
	}
	return signing.NewSigner(key), nil
}
