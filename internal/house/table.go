package house

// room is a package of ours with the packages below it (test helpers, generators): these share its rights.
type room struct {
	path string   // below the module's name
	why  string   // what it does
	ours []string // rooms that it may import directly
	pure bool     // a function of its arguments: no clock, no context, no files, no network, no database
}

// anything is a room's right to import every other.
const anything = "*"

// rooms is who may know whom. Interfaces are declared where they are used, so most adapters do not know each other.
var rooms = []room{
	{path: "internal/gate", why: "decides: changes, items, queue, window", pure: true},
	{path: "internal/release", why: "decides: version order, channels, publications, retention", pure: true},
	{path: "internal/job", why: "what a job is asked and answers", pure: true},
	{path: "internal/record", why: "the rows, as every room names them", ours: []string{"internal/gate", "internal/job", "internal/release"}, pure: true},
	{path: "internal/history", why: "what was decided, to be decided again", ours: []string{"internal/gate", "internal/record"}, pure: true},
	{path: "internal/plan", why: "decides: the jobs of an item, their keys, their reuse", ours: []string{"internal/gate", "internal/job", "internal/record", "internal/release"}, pure: true},

	{path: "internal/solve", why: "decides: which packages can be installed together, and why not; pure but for locks, as indices are shared"},

	{path: "internal/engine", why: "facts, decide, transaction, effects; speaks to the adapters through interfaces of its own, in their types", ours: []string{
		"internal/blob", "internal/config", "internal/gate", "internal/gerrit", "internal/git", "internal/history", "internal/job", "internal/plan",
		"internal/record", "internal/release", "internal/repo", "internal/report", "internal/source", "internal/universe",
	}},
	{path: "internal/postgres", why: "every line of SQL; River", ours: []string{"internal/gate", "internal/job", "internal/plan", "internal/record", "internal/release", "migrations"}},
	{path: "internal/gerrit", why: "REST, stream-events and webhooks", ours: []string{"internal/gate"}},
	{path: "internal/git", why: "the git CLI: fetch, merges that equal Gerrit's, archives", ours: []string{"internal/gate"}},
	{path: "internal/source", why: "what a tree says of its package: control files, specs, versions", ours: []string{"internal/config", "internal/deb", "internal/job", "internal/release", "internal/rpm"}},
	{path: "internal/deb", why: "one format: read, compare, index", ours: []string{"internal/release"}},
	{path: "internal/rpm", why: "one format: read, compare, index", ours: []string{"internal/release"}},
	{path: "internal/repo", why: "test repositories, publications, mirrors, fsck", ours: []string{"internal/blob", "internal/deb", "internal/job", "internal/record", "internal/release", "internal/rpm", "internal/signing"}},
	{path: "internal/publisher", why: "makes the engine's repositories: from rows to publications, with the keys", ours: []string{
		"internal/blob", "internal/deb", "internal/engine", "internal/job", "internal/record", "internal/release", "internal/repo", "internal/rpm", "internal/signing",
	}},
	{path: "internal/universe", why: "what can be installed: indices and declarations, as packages to solve", ours: []string{"internal/deb", "internal/job", "internal/plan", "internal/rpm", "internal/solve", "internal/source"}},
	{path: "internal/upstream", why: "the caching proxy of the base distributions", ours: []string{"internal/blob", "internal/config", "internal/job"}},
	{path: "internal/signing", why: "signs and verifies"},
	{path: "internal/blob", why: "the content-addressed store"},
	{path: "internal/sandbox", why: "roots, and how a command runs inside one", ours: []string{"internal/job"}},
	{path: "internal/environment", why: "nodes, images, snapshots", ours: []string{"internal/blob", "internal/job", "internal/sandbox"}},
	{path: "internal/stage", why: "the stages that a worker runs", ours: []string{
		"internal/deb", "internal/environment", "internal/git", "internal/job", "internal/rpm", "internal/sandbox", "internal/source",
	}},
	{path: "internal/worker", why: "the agent; a client of the worker API", ours: []string{"api", "internal/blob", "internal/environment", "internal/job", "internal/sandbox", "internal/stage"}},
	{path: "internal/report", why: "words for people", ours: []string{"internal/gate", "internal/job", "internal/record"}},
	{path: "internal/config", why: "the site file and the package file", ours: []string{"internal/gate", "internal/job", "internal/plan", "internal/release"}},
	{path: "internal/fsck", why: "the oracle: rows, blobs, repositories", ours: []string{"internal/blob", "internal/record", "internal/repo"}},
	{path: "internal/client", why: "the client's side of the API, for the command line", ours: []string{"api", "internal/api"}},
	{path: "internal/api", why: "the HTTP server", ours: []string{
		"api", "internal/blob", "internal/config", "internal/deb", "internal/gate", "internal/history", "internal/job", "internal/plan", "internal/record",
		"internal/release", "internal/repo", "internal/report", "internal/rpm", "web",
	}},

	{path: "api", why: "the contracts, embedded, and what is generated from them"},
	{path: "web", why: "the page: its source, its bundler, the built files embedded"},
	{path: "migrations", why: "SQL, embedded"},
	{path: "internal/trial", why: "an installation to try the service with, for the demo and the tests of the whole"},
	{path: "scripts", why: "programs of the build and the demo; nothing imports them", ours: []string{"api", "internal/client", "internal/trial", "web"}},
	{path: "cmd/sluice", why: "wiring: knows everything, and nothing imports it", ours: []string{anything}},
	{path: "internal/testenv", why: "real servers for tests; only tests import it", ours: []string{"internal/postgres", "internal/trial"}},
	{path: "internal/e2e", why: "tests of the whole service; holds no code of its own"},
	{path: "internal/house", why: "these rules"},
}

// owner is a third-party module, or a package tree in one, and the rooms that may import it outside their tests. The
// longest matching path counts.
type owner struct {
	module string
	rooms  []string
	why    string
}

var owners = []owner{
	{"github.com/andygrunwald/go-gerrit", []string{"internal/gerrit"}, "all REST to Gerrit"},
	{"golang.org/x/crypto/ssh", []string{"internal/gerrit"}, "stream-events"},
	{"github.com/cenkalti/backoff/v5", []string{"internal/gerrit", "internal/worker", "internal/repo"}, "retries in adapters"},

	{"github.com/jackc/pgx/v5", []string{"internal/postgres", "internal/testenv"}, "every line of SQL is in one room; testenv makes databases"},
	{"github.com/riverqueue/river", []string{"internal/postgres"}, "effects and periodic work"},
	{"github.com/riverqueue/river/riverdriver/riverpgxv5", []string{"internal/postgres"}, "River on pgx"},
	{"github.com/riverqueue/river/rivertype", []string{"internal/postgres"}, "River's types"},
	{"github.com/pressly/goose/v3", []string{"internal/postgres"}, "migrations"},

	{"github.com/go-chi/chi/v5", []string{"internal/api", "api", "cmd/sluice"}, "the router, the generated server on it, and where the parts are mounted"},
	{"github.com/oapi-codegen/runtime", []string{"internal/api", "internal/worker", "api"}, "what generated code calls"},
	{"github.com/getkin/kin-openapi", []string{"internal/api"}, "holds requests to the contract, and answers in tests"},
	{"github.com/prometheus/client_golang", []string{"internal/api", "internal/engine", "internal/postgres", "internal/worker", "cmd/sluice"}, "metrics"},

	{"github.com/ProtonMail/go-crypto", []string{"internal/signing"}, "OpenPGP"},
	{"github.com/sassoftware/go-rpmutils", []string{"internal/rpm"}, "RPM signatures"},
	{"github.com/cavaliergopher/rpm", []string{"internal/rpm"}, "every reading of an RPM"},
	{"pault.ag/go/debian", []string{"internal/deb"}, "every reading of a control file or a .deb"},
	{"github.com/go-air/gini", []string{"internal/solve"}, "the SAT solver"},
	{"github.com/klauspost/compress", []string{"internal/universe", "internal/blob", "internal/deb", "internal/rpm", "internal/repo", "internal/sandbox", "internal/environment", "internal/stage", "internal/worker"}, "zstd and fast gzip"},

	{"github.com/goccy/go-yaml", []string{"internal/config"}, "strict YAML with positions"},
	{"github.com/google/jsonschema-go", []string{"internal/config"}, "the published schema"},
	{"github.com/alecthomas/kong", []string{"cmd/sluice"}, "the command line"},
	{"github.com/evanw/esbuild", []string{"web"}, "the page's bundler"},

	{"golang.org/x/sync", []string{"internal/engine", "internal/worker", "internal/postgres", "internal/repo", "internal/gerrit", "internal/environment", "internal/stage", "internal/universe", "internal/upstream", "internal/api", "cmd/sluice"}, "errgroup, singleflight"},
	{"golang.org/x/sys", []string{"internal/sandbox", "internal/environment", "internal/worker", "internal/git", "internal/blob", "internal/stage"}, "namespaces, mounts, signals"},

	{"github.com/google/go-cmp", nil, testOnly},
	{"github.com/rogpeppe/go-internal", nil, testOnly},
	{"golang.org/x/tools/txtar", nil, testOnly},
	{"pgregory.net/rapid", nil, testOnly},
}

// testOnly is the reason of a library that only tests import, any room's.
const testOnly = "tests"

// helper names a package that exists for other rooms' tests: no code outside tests imports it.
var helperSuffixes = []string{"test", "fake", "testenv"}
