package config

// PackageFile is the name of the package file, at the top of a project.
const PackageFile = ".sluice.yaml"

// The values of Package.Version.
const (
	Derived  = "derived"
	Declared = "declared"
)

// Package is the package file. It comes from a change under test, so it is
// foreign input. It adds to what the site demands, and never takes away.
type Package struct {
	// Package is the name of the source package, where debian/control or the spec does not say it.
	Package string `yaml:"package" check:"package"`
	// Packaging is the folder that holds debian/ or the spec; "." unless the site says otherwise.
	Packaging string `yaml:"packaging" check:"inside"`
	// Spec is the path of the spec, where the packaging folder holds more than one.
	Spec string `yaml:"spec" check:"inside"`
	// Version is derived (epoch and upstream version from the tree, the revision counted, the target's suffix, a changelog entry from the commit message) or declared (the tree's own version as it is).
	Version string `yaml:"version" default:"derived" oneof:"derived declared"`
	// Targets are built and tested besides those that the site demands: juno/el-9. What a target cannot build, ExclusiveArch in the spec or Architecture in debian/control says, not this.
	Targets []string `yaml:"targets" check:"target"`
	// Tests are scripts that run on the machine where the package was installed.
	Tests Tests `yaml:"tests"`
	// Scenarios are system tests besides those of the site.
	Scenarios []PackageScenario `yaml:"scenarios"`
	// Build says how it is built.
	Build Build `yaml:"build"`

	source *source
}

// Tests are paths of scripts in the project. Each is run as root and passes with exit status 0.
type Tests struct {
	// Install scripts run after each installation, before the removal.
	Install []string `yaml:"install" check:"inside"`
	// Upgrade scripts run after each upgrade from the released version.
	Upgrade []string `yaml:"upgrade" check:"inside"`
}

// PackageScenario is a system test of one package.
type PackageScenario struct {
	// Name is what it is called; it cannot be that of a scenario of the site.
	Name string `yaml:"name" required:"true" check:"name"`
	// Targets are globs of the targets that it runs for: juno/*.
	Targets []string `yaml:"targets" default:"[\"**\"]" check:"glob"`
	// Nodes are its machines.
	Nodes []Node `yaml:"nodes" required:"true"`
	// Script is the path of the script in the project. It runs beside the nodes, with the command `on NODE COMMAND…`.
	Script string `yaml:"script" required:"true" check:"inside"`
}

// Build says how a package is built.
type Build struct {
	// Parallel is how many compilers may run at once; 0: as many as the worker has processors.
	Parallel int `yaml:"parallel" min:"0" max:"256"`
}
