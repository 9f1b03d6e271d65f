package config

import (
	"sluice/internal/job"
)

// Site is the whole site file: what one installation of sluice watches,
// builds, tests and publishes.
type Site struct {
	// Listen is the address that the one HTTP server listens on, host:port.
	Listen string `yaml:"listen" default:"127.0.0.1:8080" check:"hostport"`
	// URL is how people, workers and apt reach this service, with no slash at the end.
	URL string `yaml:"url" default:"http://127.0.0.1:8080" check:"url"`
	// Data is the folder of everything that sluice keeps on disk: blobs, git mirrors, roots, keys, and the embedded Postgres if there is one.
	Data string `yaml:"data" default:"/var/lib/sluice" check:"file"`
	// Database is the address of the Postgres to use, postgres://…; when it is empty (or its environment variable is), an embedded Postgres is run below data.
	Database Secret `yaml:"database"`
	// Gerrit lists the Gerrit servers that are watched.
	Gerrit []Gerrit `yaml:"gerrit" required:"true"`
	// Fetch says how everything that is fetched from outside is fetched.
	Fetch Fetch `yaml:"fetch"`
	// Upstreams are the base distributions, served to roots and jobs through the service's caching proxy.
	Upstreams []Upstream `yaml:"upstreams"`
	// Dists are the operating systems that packages are built for.
	Dists []Dist `yaml:"dists" required:"true"`
	// Releases are the product lines that are shipped.
	Releases []Release `yaml:"releases" required:"true"`
	// Targets are the pairs of release and dist that are built, tested and published.
	Targets []Target `yaml:"targets" required:"true"`
	// Projects maps (project, branch) to releases and a queue; the first rule that matches counts, and what matches none is not gated.
	Projects []Project `yaml:"projects" required:"true"`
	// Pipelines say which stages run when, and how their outcome is voted.
	Pipelines Pipelines `yaml:"pipelines"`
	// Comments are the words in Gerrit's review comments that are taken as commands.
	Comments Comments `yaml:"comments"`
	// Stages hold each stage's rules: its time limit, whether it votes, its retries and limits.
	Stages Stages `yaml:"stages"`
	// Queues are the dependent queues of the gate; projects that can break each other share one. A rule in projects that names none uses the first.
	Queues []Queue `yaml:"queues" default:"[{name: main}]"`
	// Channels say how far packages have come, from first to last; the gate publishes in the first.
	Channels []Channel `yaml:"channels" default:"[{name: updates}]"`
	// Repositories describes the released repositories.
	Repositories Repositories `yaml:"repositories"`
	// Keys are the OpenPGP keys that repositories are signed with.
	Keys Keys `yaml:"keys"`
	// Workers are the machines that may claim jobs.
	Workers []Worker `yaml:"workers"`
	// LocalWorker is the worker that the service starts as its own child.
	LocalWorker LocalWorker `yaml:"local_worker"`
	// Operators are the people and tools that may enqueue, dequeue, promote, retry and pause (rule G20).
	Operators []Operator `yaml:"operators"`
	// Scenarios are the system tests that the site demands of its packages.
	Scenarios []Scenario `yaml:"scenarios"`
	// Retention says how long things are kept.
	Retention Retention `yaml:"retention"`
	// Limits bound what one change can make the service keep or read.
	Limits Limits `yaml:"limits"`

	source *source
}

// Gerrit is one Gerrit server.
type Gerrit struct {
	// Name is what this server is called here, in addresses and on the page.
	Name string `yaml:"name" required:"true" check:"name"`
	// URL is where Gerrit's REST interface and git over HTTP are, http:// or https://.
	URL string `yaml:"url" required:"true" check:"url"`
	// SSH is where stream-events is read from, host:port; without it only reconciling and webhooks notice changes.
	SSH string `yaml:"ssh" check:"hostport"`
	// User is the name of the gate's account in Gerrit.
	User string `yaml:"user" required:"true"`
	// Token is the account's HTTP token.
	Token Secret `yaml:"token" required:"true"`
	// Key is the account's private SSH key.
	Key Secret `yaml:"key"`
	// KnownHosts is the file, in the form of OpenSSH, that Gerrit's host key is checked against. It is needed where ssh is given.
	KnownHosts string `yaml:"known_hosts" check:"file"`
	// WebhookSecret is what POST /hooks/gerrit/NAME is signed with; without it that address is closed.
	WebhookSecret Secret `yaml:"webhook_secret"`
	// Label is the gate's own label: the one it votes on, and that is left out of account when it asks whether a change is ready (rule G1).
	Label string `yaml:"label" default:"Verified"`
	// Timeout is how long an answer of this server may take; a submit may take ten times as long. What was not answered is asked for, and not done twice (rule G22).
	Timeout Duration `yaml:"timeout" default:"30s" min:"1s"`
	// Reconcile is the time between two comparisons of all open changes and branches with what is known (rule G21).
	Reconcile Duration `yaml:"reconcile" default:"3m" min:"1s"`
	// Public says what is shown to everybody who reaches this service (rule G25): the changes that a visitor may read in Gerrit without signing in (anonymous), those that the account reader may read (reader), or all that are not private (gate). Everything made from another change is restricted.
	Public string `yaml:"public" default:"anonymous" oneof:"anonymous reader gate"`
	// Reader is an account of Gerrit with the rights of everybody who is shown this service's pages. It is needed where public is reader.
	Reader *Reader `yaml:"reader"`
}

// Reader is an account that stands for everybody.
type Reader struct {
	// User is the account's name in Gerrit.
	User string `yaml:"user" required:"true"`
	// Token is the account's HTTP token.
	Token Secret `yaml:"token" required:"true"`
}

// Fetch is how everything from outside is fetched: git, upstreams, downloads.
type Fetch struct {
	// Proxy is the HTTP proxy, http://host:port; when it is empty the service's HTTP_PROXY and HTTPS_PROXY count.
	Proxy Secret `yaml:"proxy"`
	// NoProxy lists hosts and .domains that are reached without the proxy.
	NoProxy []string `yaml:"no_proxy"`
	// CABundle is a file of PEM certificates that are trusted besides the system's.
	CABundle string `yaml:"ca_bundle" check:"file"`
}

// Upstream is one base distribution. Exactly one of host, path and url says where it is.
type Upstream struct {
	// Name is what it is called here: served at /upstream/NAME/.
	Name string `yaml:"name" required:"true" check:"name"`
	// Format is the package format.
	Format job.Format `yaml:"format" required:"true" oneof:"deb rpm"`
	// Host means this machine's own apt sources, with their keys and proxy (deb only).
	Host bool `yaml:"host"`
	// Path is a folder on this machine that holds the repository.
	Path string `yaml:"path" check:"file"`
	// URL is the address of the repository; $arch in it stands for the architecture of the job.
	URL string `yaml:"url" check:"url"`
	// Suites are the APT suites to use (deb with path or url).
	Suites []string `yaml:"suites"`
	// Components are the APT components to use (deb with path or url); main unless they are said.
	Components []string `yaml:"components"`
	// Key is the file of the public keys that it is signed with, armoured or binary. Without it a url is refused, unless trusted says otherwise; a path is trusted.
	Key string `yaml:"key" check:"file"`
	// Trusted means that signatures are not checked: for a repository of one's own that is unsigned.
	Trusted bool `yaml:"trusted"`
	// Cache is how long an index is served before upstream is asked again. Packages are kept by what they are.
	Cache Duration `yaml:"cache" default:"10m" min:"0s"`
}

// Dist is an operating system that packages are built for.
type Dist struct {
	// Name is what it is called: debian-12, el-9.
	Name string `yaml:"name" required:"true" check:"name"`
	// Format is the package format.
	Format job.Format `yaml:"format" required:"true" oneof:"deb rpm"`
	// Codename is the distribution name of its APT repositories ("bookworm"), or the release version of its RPM ones ("9").
	Codename string `yaml:"codename" required:"true" check:"word"`
	// Suffix ends a derived version, so that dists order: "~deb12". For rpm it is the macro %dist: ".el9".
	Suffix string `yaml:"suffix"`
	// Upstreams are the names of the base distributions that it is made from, in falling priority.
	Upstreams []string `yaml:"upstreams" required:"true" ref:"upstream"`
	// Architectures are those that are built and tested.
	Architectures []Architecture `yaml:"architectures" required:"true"`
	// Primary is the architecture on which source packages and all or noarch packages are made; the first one unless it is said.
	Primary string `yaml:"primary"`
	// Macros are RPM macros that every build defines, without the percent sign (rpm only).
	Macros map[string]string `yaml:"macros"`
	// Roots say how its roots are made.
	Roots Roots `yaml:"roots"`
}

// Architecture is one architecture of a dist.
type Architecture struct {
	// Name is the format's own word: amd64, arm64 for deb; x86_64, aarch64 for rpm.
	Name string `yaml:"name" required:"true" check:"word"`
	// Voting is whether its jobs decide anything (rule G13).
	Voting bool `yaml:"voting" default:"true"`
}

// Roots say how the roots of a dist are made.
type Roots struct {
	// Build is the root that packages are built in.
	Build Root `yaml:"build"`
	// Install is the minimal root that packages are installed in.
	Install Root `yaml:"install"`
	// Node is the root that the nodes of a system test start from; it boots.
	Node Root `yaml:"node"`
}

// Root says how one root is made.
type Root struct {
	// Method is mmdebstrap (default for deb), dnf (default for rpm: dnf --installroot) or script.
	Method string `yaml:"method" oneof:"mmdebstrap dnf script"`
	// Variant is mmdebstrap's; by default buildd for the build root, minbase for the others.
	Variant string `yaml:"variant" oneof:"apt essential required minbase buildd important standard"`
	// Include lists packages to put in besides; with dnf also @groups.
	Include []string `yaml:"include"`
	// Script is a program on this machine that fills the folder $ROOT, with $UPSTREAM_NAME for each upstream (method script).
	Script string `yaml:"script" check:"file"`
	// Refresh is the age at which a root is made anew; it replaces the old one only if its packages differ.
	Refresh Duration `yaml:"refresh" default:"24h" min:"1m"`
}

// Release is a product line that is shipped.
type Release struct {
	// Name is what it is called: juno, mos-7.0.
	Name string `yaml:"name" required:"true" check:"name"`
}

// Target is one release × dist pair.
type Target struct {
	// Release is the name of the release.
	Release string `yaml:"release" required:"true" ref:"release"`
	// Dist is the name of the dist.
	Dist string `yaml:"dist" required:"true" ref:"dist"`
	// Disabled says why and until when this target is left out (R90); absent: it is supported.
	Disabled *Disabled `yaml:"disabled"`
}

// Disabled is why a target is left out for a while.
type Disabled struct {
	// Reason is shown to people.
	Reason string `yaml:"reason" required:"true"`
	// Until is the first day, YYYY-MM-DD UTC, on which the target counts again.
	Until Date `yaml:"until" required:"true"`
}

// Project maps projects and branches to releases and a queue.
type Project struct {
	// Gerrit is the name of the server; empty means each of them.
	Gerrit string `yaml:"gerrit" ref:"gerrit"`
	// Project is a glob of project names; * stays within one level, ** does not.
	Project string `yaml:"project" required:"true" check:"glob"`
	// Branch is a glob of branch names, without refs/heads/.
	Branch string `yaml:"branch" default:"\"**\"" check:"glob"`
	// Releases are what these branches feed; empty: changes are gated without building anything.
	Releases []string `yaml:"releases" required:"key" ref:"release"`
	// Queue is the name of the gate's queue; the first one unless it is said.
	Queue string `yaml:"queue" ref:"queue"`
	// Packaging is the folder in the project that holds debian/ or the spec. When it is set, a package file cannot say another.
	Packaging string `yaml:"packaging" check:"inside"`
}

// Pipelines are the rules from trigger to report.
type Pipelines struct {
	// Check tests each new patch set on its own.
	Check Pipeline `yaml:"check" default:"{stages: [build, publish, lint, install, upgrade], votes: {passed: 1, failed: -1}}"`
	// Gate tests approved changes on top of those ahead of them, and merges them.
	Gate Pipeline `yaml:"gate" default:"{stages: [build, publish, lint, install, upgrade, systest], votes: {passed: 2, failed: -2}, fail_fast: true}"`
}

// Pipeline is one rule from trigger to report.
type Pipeline struct {
	// Stages lists the stages that run. An empty list is an explicit noop: everything passes.
	Stages []job.Stage `yaml:"stages" oneof:"build publish lint install upgrade systest"`
	// Approve lists label values that are demanded besides Gerrit's submit requirements: {Workflow: 1} (gate only).
	Approve map[string]int `yaml:"approve"`
	// Retest says which open changes are checked again when something merges that their checks read: all (the default), approved (those that could enter the gate), none (check only).
	Retest string `yaml:"retest" oneof:"none approved all"`
	// Votes say which value of the gate's label tells which outcome.
	Votes Votes `yaml:"votes"`
	// FailFast means that the first voting job that fails cancels the buildset's other jobs.
	FailFast bool `yaml:"fail_fast"`
	// Evidence means that nobody is blamed for a job that fails on the branch itself too: where no result is known of it there, it runs there first.
	Evidence bool `yaml:"evidence" default:"true"`
}

// Comments are the words in review comments that are taken as commands.
type Comments struct {
	// Recheck are words that, at the beginning of a line, have the change tested again; what follows is recorded as the reason. An empty list turns this off.
	Recheck []string `yaml:"recheck" default:"[recheck]" check:"word"`
	// Why are words that, alone on a line, are answered with where the change is and what it waits for. An empty list turns this off.
	Why []string `yaml:"why" default:"[why]" check:"word"`
	// By says whose recheck counts: anyone who may comment in Gerrit, or reviewers: the change's owner, its uploader and its reviewers.
	By string `yaml:"by" default:"anyone" oneof:"anyone reviewers"`
}

// Votes are values of the gate's label. 0 takes an earlier vote back.
type Votes struct {
	// Passed is the vote when all voting jobs passed.
	Passed int `yaml:"passed" min:"-2" max:"2"`
	// Failed is the vote when one failed.
	Failed int `yaml:"failed" min:"-2" max:"2"`
	// Started is the vote when the first job starts.
	Started int `yaml:"started" min:"-2" max:"2"`
}

// Stages hold the rules of each stage.
type Stages struct {
	// Solve checks, before anything is built, that what packages need is there.
	Solve Solve `yaml:"solve"`
	// Root makes roots and node images.
	Root StageRules `yaml:"root" default:"{timeout: 1h, retries: 3}"`
	// Build makes source and binary packages.
	Build StageRules `yaml:"build" default:"{timeout: 2h}"`
	// Lint runs lintian or rpmlint.
	Lint StageRules `yaml:"lint" default:"{timeout: 15m}"`
	// Publish makes the test repository.
	Publish StageRules `yaml:"publish" default:"{timeout: 10m}"`
	// Install installs, tests and removes each binary package on a minimal system.
	Install StageRules `yaml:"install" default:"{timeout: 30m}"`
	// Upgrade upgrades each binary package from the released version.
	Upgrade StageRules `yaml:"upgrade" default:"{timeout: 30m}"`
	// Systest runs the scenarios.
	Systest StageRules `yaml:"systest" default:"{timeout: 1h}"`
}

// Solve is the check of dependencies before anything is built.
type Solve struct {
	// Enabled is whether dependencies are checked at all.
	Enabled bool `yaml:"enabled" default:"true"`
	// Voting is whether what cannot be installed fails the change at once; otherwise it is a warning, and the stages decide.
	Voting bool `yaml:"voting" default:"true"`
	// Timeout is how long the check of one item may take, with the indices that it has to fetch; then the stages decide.
	Timeout Duration `yaml:"timeout" default:"1m" min:"1s"`
}

// StageRules are the rules of one stage.
type StageRules struct {
	// Timeout is how long one attempt may take.
	Timeout Duration `yaml:"timeout" default:"1h" min:"1s"`
	// Voting is whether its jobs decide anything (rule G13).
	Voting bool `yaml:"voting" default:"true"`
	// Retries is how often a job is tried again after an error that is not the change's (rule G12).
	Retries int `yaml:"retries" default:"2" min:"0" max:"20"`
	// Memory is what one job may use, in bytes; 0: the worker's own limit.
	Memory Size `yaml:"memory"`
	// Disk is what one job's work folder may hold, in bytes; 0: the worker's own limit.
	Disk Size `yaml:"disk"`
	// Processes is how many processes and threads one job may have.
	Processes int64 `yaml:"processes" default:"4096" min:"16"`
}

// Queue is one dependent queue of the gate.
type Queue struct {
	// Name is what it is called.
	Name string `yaml:"name" required:"true" check:"name"`
	// Window says how many items are active (rule G7).
	Window Window `yaml:"window"`
	// PerBranch means one queue for each branch, instead of one that all branches share.
	PerBranch bool `yaml:"per_branch"`
	// Lanes means that changes that cannot affect each other, by what their packages make and need, neither wait for each other nor are tested together.
	Lanes bool `yaml:"lanes"`
	// Batch has dear stages run once for several items.
	Batch Batch `yaml:"batch"`
}

// Batch says which stages of the gate run once for several items that stand on
// one another, instead of once for each. If they fail, the batch is bisected, and
// the last item of the shortest part that fails is to blame.
type Batch struct {
	// Size is how many items a batch has at most; 0 and 1: each item is tested by itself.
	Size int `yaml:"size" min:"0" max:"100"`
	// Stages are those that run per batch.
	Stages []job.Stage `yaml:"stages" default:"[systest]" oneof:"systest"`
}

// Window says how many items of a queue are active (rule G7).
type Window struct {
	// Start is its first size, in items.
	Start int `yaml:"start" default:"20" min:"1"`
	// Floor is the least size that failures shrink it to.
	Floor int `yaml:"floor" default:"3" min:"1"`
	// Ceiling is the greatest size that merges grow it to.
	Ceiling int `yaml:"ceiling" default:"100" min:"1"`
}

// Channel is how far packages have come.
type Channel struct {
	// Name is what it is called: updates, ready, stage, production.
	Name string `yaml:"name" required:"true" check:"name"`
}

// Repositories describes the released repositories. Origin and label are
// never changed later: apt stops at a change.
type Repositories struct {
	// Origin is what clients pin by (apt: release o=ORIGIN). Choose it once: apt stops at a change.
	Origin string `yaml:"origin" default:"Sluice" check:"line"`
	// Label describes the repositories to people. Choose it once, as the origin.
	Label string `yaml:"label" default:"Sluice" check:"line"`
	// ValidUntil is how long an APT index is good for; it is signed again after a third of it. 0: for ever.
	ValidUntil Duration `yaml:"valid_until" default:"30d" min:"0s"`
	// Export is the folder where released repositories are laid out as plain files, for rsync and nginx; empty: below data.
	Export string `yaml:"export" check:"file"`
}

// Keys are the OpenPGP keys that repositories are signed with.
type Keys struct {
	// Release signs released repositories; by default keys/release.asc below data.
	Release Secret `yaml:"release"`
	// Test signs test repositories, and nothing else; by default keys/test.asc below data.
	Test Secret `yaml:"test"`
	// Generate means that a key whose file is not there is made at the first start.
	Generate bool `yaml:"generate" default:"true"`
}

// Worker is a machine that may claim jobs.
type Worker struct {
	// Name is what it is called.
	Name string `yaml:"name" required:"true" check:"name"`
	// Token is what it shows for every request.
	Token Secret `yaml:"token" required:"true"`
	// Labels are what it may offer; a job runs only where all that it needs is offered.
	Labels []string `yaml:"labels" default:"[deb, rpm, nspawn]" check:"word"`
}

// LocalWorker is the worker that the service starts as its own child.
type LocalWorker struct {
	// Enabled is whether there is one.
	Enabled bool `yaml:"enabled" default:"true"`
	// Slots is how many jobs it runs at once; 0: one for each processor.
	Slots int `yaml:"slots" min:"0" max:"1024"`
	// Labels are what it offers.
	Labels []string `yaml:"labels" default:"[deb, rpm, nspawn]" check:"word"`
}

// Operator may give administrator's commands (rule G20).
type Operator struct {
	// Name is recorded as who did it.
	Name string `yaml:"name" required:"true" check:"word"`
	// Token is what is shown for every request.
	Token Secret `yaml:"token" required:"true"`
	// Restricted means that this operator is also shown what is made from restricted changes (rule G25).
	Restricted bool `yaml:"restricted"`
}

// Scenario is a system test that the site demands.
type Scenario struct {
	// Name is what it is called; no package file can use it again.
	Name string `yaml:"name" required:"true" check:"name"`
	// Targets are globs of the targets that it runs for: juno/*.
	Targets []string `yaml:"targets" default:"[\"**\"]" check:"glob"`
	// Packages are globs of the source packages that it runs for.
	Packages []string `yaml:"packages" default:"[\"*\"]" check:"glob"`
	// Nodes are its machines.
	Nodes []Node `yaml:"nodes" required:"true"`
	// Project is the Gerrit project that holds the script; empty: the script is a file on this machine.
	Project string `yaml:"project"`
	// Branch is the branch of that project.
	Branch string `yaml:"branch" default:"main"`
	// Script is the path of the script, in the project or on this machine.
	Script string `yaml:"script" required:"true"`
}

// Node is one machine of a system test.
type Node struct {
	// Name is its host name.
	Name string `yaml:"name" required:"true" check:"host"`
	// Install lists the packages to install before the script runs.
	Install []string `yaml:"install" check:"package"`
}

// Retention says how long things are kept.
type Retention struct {
	// TestRepositories is how long a test repository is served after its buildset ended.
	TestRepositories Duration `yaml:"test_repositories" default:"14d" min:"0s"`
	// Logs is how long logs are kept.
	Logs Duration `yaml:"logs" default:"90d" min:"0s"`
	// Artifacts is how long packages that were never released are kept.
	Artifacts Duration `yaml:"artifacts" default:"30d" min:"0s"`
	// History is how long it is kept what each queue decided and from what, for sluice replay.
	History Duration `yaml:"history" default:"14d" min:"1d"`
	// Environments is how long snapshots of environments are kept (R49).
	Environments Duration `yaml:"environments" default:"20d" min:"0s"`
	// Publications is how long a superseded publication can still be read; at least 3 days, so that no client's update breaks.
	Publications Duration `yaml:"publications" default:"14d" min:"3d"`
	// Upstream is how long a file of a base distribution is kept after it was last served.
	Upstream Duration `yaml:"upstream" default:"30d" min:"1h"`
}

// Limits bound what one change can make the service keep or read.
type Limits struct {
	// Log is how much of a job's log is kept; the rest is counted.
	Log Size `yaml:"log" default:"20MB" min:"64kB"`
	// Artifact is the largest file that a job may hand in.
	Artifact Size `yaml:"artifact" default:"4GB" min:"1MB"`
	// Artifacts is how many files one job may hand in.
	Artifacts int `yaml:"artifacts" default:"2000" min:"1"`
	// Source is the largest source tree, unpacked.
	Source Size `yaml:"source" default:"4GB" min:"1MB"`
	// Buildsets is how many buildsets of one change's patch set are kept as history.
	Buildsets int `yaml:"buildsets" default:"50" min:"1"`
}
