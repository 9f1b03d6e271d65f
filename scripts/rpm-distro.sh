#!/usr/bin/env bash
# rpm-distro.sh - a small, real RPM distribution made of this machine's own Debian packages.
#
#   scripts/rpm-distro.sh OUT [DEBIAN-PACKAGE...]
#
# For tests and the demo, where no RPM distribution's mirror can be reached. Every .deb of a dependency closure becomes
# an RPM with real files, Requires, Provides and soname dependencies, and createrepo_c makes a repository of them. The
# packages named after OUT are added to the default list. Where OUT already holds what would be made, nothing is done.
#
#   OUT/repo             the repository (groups: core, buildsys-build)
#   OUT/dnf.conf         a dnf configuration that knows only this repository
#   OUT/dnf-plugins      its plugin configuration: the harmful ones are off
#   OUT/home/.rpmmacros  run the machine's dnf and rpm with HOME=OUT/home, so that a root's rpm database is where the
#                        distribution itself looks for it (Debian's rpm uses ~/.rpmdb)
#   OUT/debs             the downloaded .debs, used again by the next run
#   OUT/closure          the Debian packages and versions that went in
#
# Environment: JOBS (the number of processors), COMPRESSION (w1.zstdio).
# Needs apt, dpkg-dev, rpm, createrepo-c, dnf-plugins-core (scripts/install.sh serve).
set -euo pipefail
export LC_ALL=C

DEFAULT_PACKAGES=(
  # a root to run things in
  bash coreutils findutils grep sed gawk diffutils debianutils hostname procps
  libc-bin ncurses-base netbase
  util-linux mount login passwd libpam-modules libpam-runtime tzdata
  tar gzip bzip2 xz-utils zstd unzip cpio file patch
  # the build set
  gcc g++ make binutils libc6-dev rpm debugedit pkg-config
  python3 python3-dev python3-packaging python3-setuptools
  # what looks for faults in packages
  rpmlint
  # a node that boots and manages its own packages
  systemd systemd-sysv dbus dnf dnf-plugins-core
  # only to choose these alternatives and read their data; see SKIP
  usr-is-merged base-passwd
)

# Debian plumbing without a place in an RPM system: not converted, and dropped from Requires.
SKIP=' dpkg debconf debconf-i18n usr-is-merged usrmerge base-files base-passwd libdebconfclient0
  init-system-helpers adduser lsb-base sysvinit-utils dash libjs-jquery libjs-underscore libjs-sphinxdoc '

# Directories that belong to the package filesystem, and to no other.
FS_DIRS=(
  boot dev etc etc/default etc/dnf etc/init.d etc/ld.so.conf.d etc/pam.d etc/profile.d etc/rpm etc/skel
  etc/systemd etc/systemd/system etc/yum.repos.d home mnt opt proc root run srv sys tmp
  usr usr/bin usr/games usr/include usr/lib usr/lib/rpm usr/lib/rpm/macros.d usr/lib/sysimage
  usr/lib/sysimage/rpm usr/lib/systemd usr/lib/systemd/system usr/lib/tmpfiles.d usr/lib/sysusers.d
  usr/lib64 usr/lib64/pkgconfig usr/libexec usr/local usr/local/bin usr/local/sbin usr/local/lib
  usr/sbin usr/share usr/share/doc usr/share/licenses usr/share/man usr/share/pkgconfig usr/src
  var var/cache var/empty var/lib var/lib/misc var/local var/log var/opt var/spool var/tmp
)

# Plugins of the host's dnf that must not act on the roots.
DNF_PLUGINS_OFF=(local versionlock kickstart post-transaction-actions debuginfo-install)

# rpm_name DEBIAN-NAME: its name here. The Debian name stays as a Provides.
rpm_name() {
  case $1 in
    libc6) echo glibc ;;            libc-bin) echo glibc-common ;;
    libc6-dev) echo glibc-devel ;;  linux-libc-dev) echo kernel-headers ;;
    g++) echo gcc-c++ ;;            libstdc++6) echo libstdc++ ;;
    libgcc-s1) echo libgcc ;;       xz-utils) echo xz ;;
    passwd) echo shadow-utils ;;    procps) echo procps-ng ;;
    zlib1g) echo zlib ;;            zlib1g-dev) echo zlib-devel ;;
    libpam-modules) echo pam ;;     python3-dev) echo python3-devel ;;
    *) echo "$1" ;;
  esac
}

# more_provides DEBIAN-NAME: what Fedora-style specs and automatic requires ask for.
more_provides() {
  case $1 in
    libc6) echo 'rtld(GNU_HASH)'; echo glibc-minimal-langpack ;;
    bash) echo /bin/sh; echo /bin/bash ;;
    gawk) echo /bin/awk ;;
    debianutils) echo which ;;
    pkg-config|pkgconf) echo pkgconf-pkg-config; echo pkgconfig ;;
    passwd) echo 'shadow-utils'; echo 'passwd' ;;
    python3) echo 'python3-libs' ;;
    gpg) echo gnupg2 ;;
    openssh-server|openssh-client) echo openssh ;;
    *) ;;
  esac
  case $1 in
    libc6-dev|python3-dev|zlib1g-dev) ;;
    lib*-dev)
      local stem=${1%-dev}
      stem=${stem#lib}
      echo "lib$stem-devel"
      grep -qxF "$stem-dev" "$WORK/names" || echo "$stem-devel" ;;
    *-dev) echo "${1%-dev}-devel" ;;
  esac
}

# more_requires DEBIAN-NAME: python3 is one piece here, as `python(abi)` promises it.
more_requires() {
  case $1 in
    python3-minimal) echo python3 ;;
    python3) echo rpm-site-packages ;;
    python3-dev) printf '%s\n' python3-packaging python3-setuptools ;;
    *) ;;
  esac
}

# overlay DEBIAN-NAME: what a maintainer script would have made, in the current directory.
overlay() {
  case $1 in
    bash) ln -s bash usr/bin/sh ;;
    gawk) ln -s gawk usr/bin/awk ;;
    debianutils) ln -s which.debianutils usr/bin/which ;;
    gcc) ln -s gcc usr/bin/cc ;;
    g++) ln -s g++ usr/bin/c++ ;;
    dnf) rm -f etc/dnf/aliases.d/zypper.conf ;;
    dnf-plugins-core) sed -i '0,/^enabled/s/^enabled.*/enabled = false/' etc/dnf/plugins/local.conf ;;
    systemd) mkdir -p var/log/journal ;;
    rpm-common) install -D -m 0644 /dev/stdin usr/lib/rpm/macros.d/macros.dbpath <<< '%_dbpath /usr/lib/sysimage/rpm' ;;
    libpam-runtime)
      local kind
      for kind in auth account password session session-noninteractive; do
        echo "${kind%-*} required pam_unix.so" > "etc/pam.d/common-$kind"
      done
      sed -i 's/^auth.*/& nullok/' etc/pam.d/common-auth ;;
    *) ;;
  esac
}

macro_text() { sed 's/%/%%/g'; }

# new_path PATH: where PATH is once /bin, /sbin, /lib, /lib64 and the multiarch folder are merged.
new_path() {
  local p=$1
  case $p in /bin|/sbin|/lib|/lib64|/bin/*|/sbin/*|/lib/*|/lib64/*) p=/usr$p ;; esac
  case $p in "/usr/lib/$MULTIARCH" | "/usr/lib/$MULTIARCH"/*) p=/usr/lib64${p#"/usr/lib/$MULTIARCH"} ;; esac
  printf '%s\n' "$p"
}

# merge_usr: in the current directory. Writes the /bin/x names that it takes away to the file $1.
merge_usr() {
  local link target dir
  find . -type l -lname '*..*' -print0 | while IFS= read -r -d '' link; do
    dir=$(dirname "${link#.}") target=$(readlink "$link")
    [[ $target == /* ]] || target=$(realpath -ms "$dir/$target")
    dir=$(new_path "$dir") target=$(new_path "$target")
    ln -sfn "$(realpath -ms --relative-to="$dir" "$target")" "$link"
  done
  [[ ! -L lib64/ld-linux-x86-64.so.2 ]] || rm lib64/ld-linux-x86-64.so.2
  for dir in bin sbin; do
    [[ ! -d $dir ]] || find $dir ! -type d -printf '/%p\n'
  done > "$1"
  for dir in bin sbin lib64 lib usr/lib/"$MULTIARCH"; do
    [[ -d $dir && ! -L $dir ]] || continue
    case $dir in usr/*) target=usr/lib64 ;; *) target=usr/$dir ;; esac
    mkdir -p $target
    cp -al "$dir/." $target/
    rm -rf "$dir"
  done
}

# file_list: %files lines of the current directory.
file_list() {
  (( EUID == 0 )) || echo '%defattr(-,root,root,-)'
  find . -mindepth 1 -printf '%y\t/%P\n' | awk -F'\t' -v own="$1" -v conffiles="$2" '
    BEGIN { n = split(own, d, " "); for (i = 1; i <= n; i++) skip["/" d[i]] = 1
            while ((getline line < conffiles) > 0) conf[line] = 1 }
    $1 == "d" && ($2 in skip) { next }
    { path = $2; gsub(/%/, "%%", path)
      if ($1 == "d") print "%dir \"" path "\""
      else if ($2 in conf) print "%config(noreplace) \"" path "\""
      else print "\"" path "\"" }'
}

# requires DEPENDS: one name a line; of alternatives the first that the distribution has.
requires() {
  tr -d '\n' <<<"$1" | tr ',' '\n' | sed -E 's/\([^)]*\)|\[[^]]*\]|:any|:native//g; s/[[:space:]]//g' |
    awk -F'|' 'NR == FNR { have[$1] = 1; next }
      { for (i = 1; i <= NF; i++) if ($i in have) { print $i; next } }' "$WORK/names" - | sort -u
}

run_rpmbuild() { # SPEC ROOT LOG
  local top=$WORK/top/${1##*/}
  mkdir -p "$top"/{BUILD,SPECS}
  rpmbuild -bb --quiet --buildroot "$2" \
    --define "_topdir $top" --define "_rpmdir $OUT/repo" --define "_dbpath $WORK/db" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
    --define "_fileattrsdir $WORK/attrs" --define "_binary_payload $COMPRESSION" \
    --define '_buildshell /bin/bash' --define '_buildhost localhost' --define '_build_id_links none' \
    --define 'debug_package %{nil}' --define '__os_install_post %{nil}' \
    --define 'vendor Converted from Debian' \
    --define '_binaries_in_noarch_packages_terminate_build 0' "$1" > "$3" 2>&1 ||
    { cat "$3" >&2; echo "rpmbuild failed: $1" >&2; return 1; }
}

# python_dists: names of the python distributions in the current directory.
python_dists() {
  [[ ! -d usr/lib/python3/dist-packages ]] ||
    find usr/lib/python3/dist-packages -maxdepth 1 -name '*-info' -printf '%f\n' |
      sed -E 's/\.(egg|dist)-info$//; s/-[0-9][^-]*(-py[0-9.]+)?$//; s/[-_.]+/-/g' | tr 'A-Z' 'a-z' | sort -u
}

# convert DEB: one .deb to its RPM.
convert() {
  local deb=$1 work=$WORK root field name version epoch='' release=1 arch depends provides summary rpm
  local -A control=()
  while IFS= read -r field; do control[${field%%:*}]=${field#*: }; done < <(
    dpkg-deb -f "$deb" Package Version Architecture Depends Pre-Depends Provides Description |
      awk '/^ /{next} {print}')
  name=${control[Package]} version=${control[Version]} arch=${control[Architecture]}
  depends="${control[Pre-Depends]:-},${control[Depends]:-}" provides=${control[Provides]:-}
  summary=${control[Description]}
  rpm=$(rpm_name "$name")
  [[ $version != *:* ]] || { epoch=${version%%:*}; version=${version#*:}; }
  [[ $version != *-* ]] || { release=${version##*-}; version=${version%-*}; }
  version=${version//-/.}

  root=$work/root/$name
  mkdir -p "$root" "$work/spec"
  dpkg-deb -x "$deb" "$root"
  dpkg-deb -I "$deb" conffiles > "$work/spec/$name.conf" 2>/dev/null || : > "$work/spec/$name.conf"
  cd "$root"
  rm -rf usr/share/{man,info,locale,lintian,bug,doc-base,bash-completion,menu}
  [[ ! -d usr/share/doc ]] || find usr/share/doc ! -type d ! -name copyright -delete
  [[ ! -d usr/share/doc ]] || find usr/share/doc -mindepth 1 -type d -empty -delete
  merge_usr "$work/spec/$name.moved"
  rmdir var/lib/rpm var/run var/lock 2>/dev/null || : # links, in the package filesystem
  overlay "$name"

  {
    printf 'Name: %s\nVersion: %s\nRelease: %s\n' "$rpm" "$version" "$release"
    [[ -z $epoch ]] || printf 'Epoch: %s\n' "$epoch"
    printf 'Summary: %s\n' "$(macro_text <<<"$summary")"
    printf 'License: See /usr/share/doc/%s/copyright\n' "$name"
    [[ $arch != all ]] || echo 'BuildArch: noarch'
    [[ $rpm == "$name" ]] || printf 'Provides: %s = %%{?epoch:%%{epoch}:}%%{version}-%%{release}\n' "$name"
    more_provides "$name" | sed 's/^/Provides: /'
    sed 's/^/Provides: /' "$work/spec/$name.moved"
    tr ',' '\n' <<<"$provides" | sed -E 's/\([^)]*\)//; s/[[:space:]]//g; /^$/d; s/^/Provides: /'
    find usr -name '*.pm' -type f | /usr/lib/rpm/perl.prov 2>/dev/null | sort -u | sed 's/^/Provides: /' || :
    python_dists | sed -E "s/.*/Provides: python3dist(&), python$PYTHON_VERSION""dist(&)/"
    echo 'Requires: filesystem'
    if [[ $name == rpm ]]; then
      # Debian's rpm is both: keep the compiler chain out of a root that only has rpm.
      printf 'Requires: rpm-common\n%%description\n%%summary.\n'
      printf '%%package -n rpm-build\nSummary: Tools to build RPM packages\nRequires: rpm = %%{?epoch:%%{epoch}:}%%{version}-%%{release}\n'
      requires "$depends" | sed 's/^/Requires: /'
      printf 'Requires: %s\n' bash binutils bzip2 coreutils cpio diffutils file findutils gawk grep gzip \
        make patch sed tar unzip xz zstd distro-rpm-macros
      printf '%%description -n rpm-build\n%%summary.\n'
      printf '%%files -f %s.list\n%%files -n rpm-build -f %s.build-list\n' "$work/spec/$name" "$work/spec/$name"
    else
      more_requires "$name" | sed 's/^/Requires: /'
      requires "$depends" | grep -vxF "$name" | sed 's/^/Requires: /' || :
      printf '%%description\n%%summary.\n%%files -f %s\n' "$work/spec/$name.list"
    fi
  } > "$work/spec/$name.spec"
  file_list "${FS_DIRS[*]}" "$work/spec/$name.conf" > "$work/spec/$name.list"
  if [[ $name == rpm ]]; then
    local pattern='/usr/bin/(rpmbuild|rpmspec|gendiff|rpmgraph)|/usr/lib/rpm/(brp-|check-|elfdeps|fileattrs|find|fontconfig|.*deps|perl\.|script\.|mkinst|rpm_macros|rpmuncompress)'
    grep -E "$pattern" "$work/spec/$name.list" > "$work/spec/$name.build-list"
    sed -i -E "\\#$pattern#d" "$work/spec/$name.list"
  fi
  cd "$work"
  run_rpmbuild "$work/spec/$name.spec" "$root" "$work/spec/$name.log"
  rm -rf "$root" "$work/top/$name.spec"
}

# own_tree: fills the current directory with what no Debian package brings: the merged folders, users, the name.
own_tree() {
  local dir release=$1
  for dir in "${FS_DIRS[@]}"; do mkdir -p "$dir"; done
  chmod 1777 tmp var/tmp
  chmod 0700 root
  for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done
  ln -s ../lib64 "usr/lib/$MULTIARCH"
  ln -s ../run var/run
  ln -s ../run/lock var/lock
  ln -s ../../usr/lib/sysimage/rpm var/lib/rpm
  ln -s ../usr/lib/os-release etc/os-release
  ln -s ../proc/self/mounts etc/mtab
  mkdir -p "$WORK/base-passwd"
  dpkg-deb -x "$OUT"/debs/base-passwd_*.deb "$WORK/base-passwd"
  { sed 's/^root:\*:/root:x:/' "$WORK/base-passwd/usr/share/base-passwd/passwd.master"
    echo 'messagebus:x:100:101::/nonexistent:/usr/sbin/nologin'; } | sed 's/:\*:/:x:/' > etc/passwd
  { cat "$WORK/base-passwd/usr/share/base-passwd/group.master"; echo 'messagebus:x:101:'; } |
    sed 's/:\*:/:x:/' > etc/group
  sed -E 's/^([^:]*):.*/\1:*:19000:0:99999:7:::/' etc/passwd > etc/shadow
  chmod 0640 etc/shadow
  : > etc/machine-id # empty: made at boot, and it is not a first boot
  printf '127.0.0.1 localhost\n::1 localhost\n' > etc/hosts
  printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n' > etc/nsswitch.conf
  printf 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin\nfor f in /etc/profile.d/*.sh; do [ ! -r "$f" ] || . "$f"; done\nunset f\n' > etc/profile
  printf '/bin/sh\n/bin/bash\n/usr/bin/bash\n' > etc/shells
  printf 'NAME="Rebuilt"\nID=rebuilt\nVERSION_ID=%s\nPRETTY_NAME="Rebuilt %s (RPM from Debian packages)"\n' \
    "$release" "$release" > usr/lib/os-release
}

# own_macros: the RPM configuration of the distribution, and the path of python's site-packages.
own_macros() {
  local release=$1
  cat > usr/lib/rpm/macros.d/macros.distro <<M
%dist .rb$release
%_buildshell /bin/bash
%_build_id_links alldebug
%_unpackaged_files_terminate_build 1
%_binary_payload w3.zstdio
%_source_payload w3.zstdio
%make_build %{__make} %{?_smp_mflags}
%make_install %{__make} install DESTDIR=%{?buildroot} INSTALL="%{__install} -p"
%__python3 /usr/bin/python3
%python3 %__python3
%python3_version $PYTHON_VERSION
%python3_sitelib /usr/lib/python$PYTHON_VERSION/site-packages
%python3_sitearch /usr/lib64/python$PYTHON_VERSION/site-packages
%py3_build %{__python3} setup.py build
%py3_install DEB_PYTHON_INSTALL_LAYOUT=deb %{__python3} setup.py install --root %{buildroot} --prefix /usr --single-version-externally-managed --install-lib %{python3_sitelib}
%_unitdir /usr/lib/systemd/system
%_tmpfilesdir /usr/lib/tmpfiles.d
%_sysusersdir /usr/lib/sysusers.d
M
  # Debian's python looks in dist-packages only; RPMs install to site-packages.
  mkdir -p "usr/lib/python$PYTHON_VERSION/site-packages" "usr/lib64/python$PYTHON_VERSION/site-packages" usr/lib/python3/dist-packages
  printf '%s\n' "import site; site.addsitedir('/usr/lib/python$PYTHON_VERSION/site-packages'); site.addsitedir('/usr/lib64/python$PYTHON_VERSION/site-packages')" \
    > usr/lib/python3/dist-packages/rpm-site-packages.pth
}

# own_spec: the spec of the packages that hold these files.
own_spec() {
  local release=$1
  printf 'Name: distro\nVersion: %s\nRelease: 1\nSummary: The distribution\nLicense: GPL-2.0-or-later\nBuildArch: noarch\n%%description\n%%summary.\n' "$release"
  echo '%package -n filesystem
Summary: Directories, users and release files
AutoReqProv: no
Provides: setup, base-files, base-passwd, system-release = %version, system-release(releasever) = %version, redhat-release = %version
%description -n filesystem
%summary.
%package -n distro-rpm-macros
Summary: The RPM configuration of the distribution
Requires: filesystem
Provides: redhat-rpm-config, system-rpm-config, python-rpm-macros, python3-rpm-macros, systemd-rpm-macros, pyproject-rpm-macros
%description -n distro-rpm-macros
%summary.
%package -n rpm-site-packages
Summary: Makes python find site-packages
Requires: filesystem
AutoReqProv: no
%description -n rpm-site-packages
%summary.
%package -n basesystem
Summary: A minimal root
Requires: filesystem, bash, coreutils, glibc, glibc-common, findutils, grep, sed, gawk
%description -n basesystem
%summary.
%package -n buildsys-build
Summary: What every build root holds
Requires: basesystem, rpm-build, distro-rpm-macros, bzip2, cpio, diffutils, file, gzip, patch, shadow-utils, tar, unzip, util-linux, which, xz, gcc, gcc-c++, make, glibc-devel, binutils
%description -n buildsys-build
%summary.'
  echo '%files -n filesystem'
  (( EUID == 0 )) || echo '%defattr(-,root,root,-)'
  printf '%%dir /%s\n' "${FS_DIRS[@]}"
  printf '/%s\n' bin sbin lib lib64 "usr/lib/$MULTIARCH" var/run var/lock var/lib/rpm etc/mtab etc/os-release usr/lib/os-release
  printf '%%config(noreplace) /etc/%s\n' passwd group hosts machine-id nsswitch.conf profile shells
  echo '%config(noreplace) %attr(0640,root,root) /etc/shadow'
  printf '%%files -n distro-rpm-macros\n/usr/lib/rpm/macros.d/macros.distro\n'
  printf '%%files -n rpm-site-packages\n%%dir /usr/lib/python%s/site-packages\n%%dir /usr/lib64/python%s/site-packages\n/usr/lib/python3/dist-packages/rpm-site-packages.pth\n' "$PYTHON_VERSION" "$PYTHON_VERSION"
  printf '%%files -n basesystem\n%%files -n buildsys-build\n'
}

# own_packages: filesystem, basesystem, buildsys-build, distro-rpm-macros and rpm-site-packages.
own_packages() {
  local root=$WORK/root/@own spec=$WORK/spec/distro.spec release
  # shellcheck source=/dev/null
  release=$(. /etc/os-release; echo "${VERSION_ID:-0}")
  mkdir -p "$root"
  cd "$root"
  own_tree "$release"
  own_macros "$release"
  own_spec "$release" > "$spec"
  cd "$WORK"
  run_rpmbuild "$spec" "$root" "$WORK/spec/distro.log"
}

# ---- the steps ----------------------------------------------------------------------------------------------------

# lists: what apt knows of, by name, size and time: enough to say that nothing can have changed.
lists() { find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -printf '%f %s %T@\n' 2>/dev/null | sort; }

# up_to_date HASH: does OUT hold what this hash of inputs makes? Two hashes count: a quick one over apt's lists, and one
# over the versions that apt then plans.
up_to_date() { [[ -d $OUT/repo/repodata ]] && grep -qxF "$1" "$OUT/complete" 2>/dev/null; }

hash_of() { sha256sum | cut -d' ' -f1; }

# plan PACKAGE...: the closure, as apt resolves it on an empty system, as "NAME VERSION" lines.
plan() {
  apt-get -s install --no-install-recommends -o Dir::State::status=/dev/null "${DEFAULT_PACKAGES[@]}" "$@" |
    awk '$1 == "Inst" { sub(/^\(/, "", $3); print $2, $3 }'
}

# download: gets the .debs of the closure that are missing, removes those of former closures, and lists what to convert
# (debs) and all names that they go by (names).
download() {
  local name version file deb
  : > "$WORK/wanted"
  while read -r name version; do
    [[ $SKIP != *[[:space:]]"$name"[[:space:]]* || $name == base-passwd ]] || continue
    file=${name}_${version//:/%3a}
    compgen -G "$OUT/debs/${file}_*.deb" > /dev/null || echo "$name=$version"
    printf '%s\n' "$file" >> "$WORK/wanted"
  done < "$WORK/closure" > "$WORK/missing"
  if [[ -s $WORK/missing ]]; then
    (cd "$OUT/debs" && xargs apt-get download -qq < "$WORK/missing" 2> "$WORK/download.log") ||
      { cat "$WORK/download.log" >&2; exit 1; }
  fi
  for deb in "$OUT"/debs/*.deb; do
    file=${deb##*/}
    grep -qxF "${file%_*}" "$WORK/wanted" || rm -f "$deb"
  done
  while read -r file; do
    [[ $file == base-passwd_* ]] || printf '%s\n' "$OUT/debs/$file"_*.deb
  done < "$WORK/wanted" > "$WORK/debs"
  while read -r deb; do
    dpkg-deb -f "$deb" Package Provides
  done < "$WORK/debs" | sed -nE 's/^(Package|Provides): //p' | tr ',' '\n' |
    sed -E 's/\([^)]*\)//g; s/[[:space:]]//g; /^$/d' | sort -u > "$WORK/names"
}

# index: makes a repository of the RPMs, with the two groups.
index() {
  cat > "$WORK/comps.xml" <<'X'
<?xml version="1.0" encoding="UTF-8"?>
<comps>
  <group><id>core</id><name>core</name><default>true</default><uservisible>true</uservisible>
    <packagelist><packagereq type="mandatory">basesystem</packagereq></packagelist></group>
  <group><id>buildsys-build</id><name>buildsys-build</name><default>false</default><uservisible>true</uservisible>
    <packagelist><packagereq type="mandatory">buildsys-build</packagereq></packagelist></group>
</comps>
X
  createrepo_c -q -g "$WORK/comps.xml" "$OUT/repo"
}

# client: how this machine's dnf and rpm use the distribution.
client() {
  local name
  echo '%_dbpath /usr/lib/sysimage/rpm' > "$OUT/home/.rpmmacros"
  cat > "$OUT/dnf.conf" <<C
[main]
gpgcheck=0
install_weak_deps=False
best=True
keepcache=0
reposdir=/dev/null
cachedir=/var/cache/dnf
pluginconfpath=$OUT/dnf-plugins
[distro]
name=The distribution
baseurl=file://$OUT/repo
C
  # The machine's plugin "local" would keep a copy of every package and offer it again: old ones win.
  for name in "${DNF_PLUGINS_OFF[@]}"; do printf '[main]\nenabled=0\n' > "$OUT/dnf-plugins/$name.conf"; done
}

# check: every Requires has a provider in the repository.
check() {
  HOME=$OUT/home dnf -q -c "$OUT/dnf.conf" --setopt=cachedir="$WORK/cache" repoclosure --repo distro > "$WORK/closure.log" 2>&1 ||
    { cat "$WORK/closure.log" >&2; echo 'rpm-distro: a package requires what none provides' >&2; exit 1; }
}

main() {
  local self quick exact began=$SECONDS
  self=$(realpath "$0")
  [[ -n $(lists) ]] || apt-get -qq update -o APT::Update::Error-Mode=any
  quick=$({ cat "$self"; lists; echo "$OUT $COMPRESSION $*"; } | hash_of)
  ! up_to_date "$quick" || return 0
  rm -rf "$WORK"
  mkdir -p "$WORK"/{attrs,db,root,spec,top} "$OUT"/{debs,home,dnf-plugins}
  plan "$@" > "$WORK/closure"
  exact=$({ cat "$self" "$WORK/closure"; echo "$OUT $COMPRESSION"; } | hash_of)
  if ! up_to_date "$exact"; then
    rm -rf "$OUT/complete" "$OUT/repo"
    mkdir -p "$OUT/repo"
    cp /usr/lib/rpm/fileattrs/{elf,python,pkgconfig}.attr "$WORK/attrs/"
    download
    PYTHON_VERSION=$(awk '$1 == "python3" { split($2, v, "."); print v[1] "." v[2] }' "$WORK/closure")
    export PYTHON_VERSION=${PYTHON_VERSION:-3}
    own_packages
    xargs -d '\n' ls -S < "$WORK/debs" | xargs -d '\n' -P "${JOBS:-$(nproc)}" -n 1 bash "$self" --convert
    index
    client
    check
    cp "$WORK/closure" "$OUT/closure"
    echo "rpm-distro: $(find "$OUT/repo" -name '*.rpm' | wc -l) packages, $(du -sm "$OUT/repo" | cut -f1) MB, in $((SECONDS - began)) s" >&2
  fi
  printf '%s\n' "$quick" "$exact" > "$OUT/complete"
  rm -rf "$WORK"
}

if [[ ${1:-} == --convert ]]; then # a worker of the xargs above
  convert "$2"
  exit
fi
[[ $# -ge 1 ]] || { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
OUT=$(realpath -m "$1")
shift
WORK=$OUT/work
MULTIARCH=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
COMPRESSION=${COMPRESSION:-w1.zstdio}
export OUT WORK MULTIARCH COMPRESSION
main "$@"
