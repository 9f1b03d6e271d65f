#!/usr/bin/env bash
# gerrit.sh - a real Gerrit Code Review server on loopback, for the demo and the tests.
#
#   scripts/gerrit.sh up                           start it (and set it up); prints its settings
#   scripts/gerrit.sh project NAME [TYPE [BRANCH...]]  make a project (submit type, branches)
#   scripts/gerrit.sh env                          print its settings, as KEY=value lines
#   scripts/gerrit.sh down                         stop it; the site stays
#   scripts/gerrit.sh purge                        stop it and remove the site
#   scripts/gerrit.sh template                     only fill the cache
#
# Every command can be repeated. Several Gerrits run side by side, each with a site and ports of its own.
#
# Environment (all optional):
#   GERRIT_SITE       the site's directory                  (./.demo/gerrit)
#   GERRIT_VERSION    3.13.5 (Java 21 or newer) or 3.10.2 (Java 17 or newer); the newest that a Java here can run
#   GERRIT_JAVA       the java program to use               (the oldest on this machine that is new enough)
#   GERRIT_CACHE      jars and site templates               (~/.cache/sluice/gerrit)
#   HTTP_PORT SSH_PORT   loopback ports                     (18080, 29418)
#   GERRIT_HEAP       limit of the Java heap                (384m)
#   GERRIT_SUBMIT_WHOLE_TOPIC  change.submitWholeTopic      (false)
#   GERRIT_OWNER_PID  stop by itself when this process has ended, so that a killed test leaves no server
#
# Accounts, each with the token NAME-secret and the key SITE/accounts/NAME.key (admin's token is `secret`):
#   admin        administrator
#   gate         the gate's own: Service Users; votes Verified, submits, sees private changes
#   maintainer   proposes changes; in Reviewers
#   reviewer     in Reviewers: Code-Review -2..+2, Workflow -1..+1 (+1 = approved for merge)
#   limited      in no group: may propose, may not approve, sees no private change of others
#
# How `up` is quick: the first run of a version makes a site, starts it, sets the accounts and rights up through
# the REST API, stops it, and keeps it as a template in the cache. Later runs copy the template and change the ports.
set -euo pipefail
export LC_ALL=C.UTF-8

SITE=$(realpath -m "${GERRIT_SITE:-.demo/gerrit}")
CACHE=$(realpath -m "${GERRIT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sluice/gerrit}")
HTTP_PORT=${HTTP_PORT:-18080}
SSH_PORT=${SSH_PORT:-29418}
HEAP=${GERRIT_HEAP:-384m}
START_SECONDS=300 # how long a start may take on a busy machine
ADMIN_TOKEN=secret # `init --dev` gives it to account 1000000

say() { printf 'gerrit: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

usage() { sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

# ---- Java -------------------------------------------------------------------------------------------------------

java_major() { "$1" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p'; }

# needs_java VERSION: the least Java that this Gerrit runs on.
needs_java() { case $1 in 2.* | 3.[0-9].* | 3.10.* | 3.11.*) echo 17 ;; *) echo 21 ;; esac; }

# javas: every Java on this machine as "MAJOR PATH", oldest first.
javas() {
  local j m
  for j in ${GERRIT_JAVA:+"$GERRIT_JAVA"} ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" \
           /usr/lib/jvm/*/bin/java /usr/local/lib/jvm/*/bin/java; do
    [[ -x $j ]] || continue
    j=$(realpath "$j") m=$(java_major "$j")
    [[ $m =~ ^[0-9]+$ ]] && ((m >= 17)) && echo "$m $j"
  done | sort -n | uniq
}

# pick_java: sets VERSION, JAVA and JAVA_MAJOR.
pick_java() {
  local all least
  if [[ -n ${GERRIT_JAVA:-} ]]; then all="$(java_major "$GERRIT_JAVA") $GERRIT_JAVA"; else all=$(javas); fi
  [[ -n $all ]] || die "no Java 17 or newer on this machine: run scripts/install.sh demo"
  VERSION=${GERRIT_VERSION:-}
  if [[ -z $VERSION ]]; then
    VERSION=3.10.2
    (($(tail -n 1 <<<"$all" | cut -d' ' -f1) < 21)) || VERSION=3.13.5
  fi
  least=$(needs_java "$VERSION")
  read -r JAVA_MAJOR JAVA < <(awk -v least="$least" '$1 >= least' <<<"$all") ||
    die "Gerrit $VERSION needs Java $least or newer; there is only: $(cut -d' ' -f1 <<<"$all" | paste -sd' ')"
}

# ---- the program ------------------------------------------------------------------------------------------------

# Two fat jars on Maven Central hold the whole server (gerrit-plugin-api) and what starts it: init, daemon, Jetty,
# H2 (gerrit-acceptance-framework). Only Bouncy Castle and EdDSA are not in them; nor is the web UI, hence --headless.
ARTIFACTS=(com.google.gerrit:gerrit-plugin-api com.google.gerrit:gerrit-acceptance-framework
  org.bouncycastle:bcprov-jdk18on:1.80 org.bouncycastle:bcutil-jdk18on:1.80 org.bouncycastle:bcpkix-jdk18on:1.80
  org.bouncycastle:bcpg-jdk18on:1.80 net.i2p.crypto:eddsa:0.3.0)

# trust_store: Java has a list of certificate authorities of its own, and does not know those that an administrator has
# given this machine (a company's proxy). For Maven it is made from the machine's bundle, in Java's JKS format.
trust_store() {
  local bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  [[ ! $CACHE/trust.jks -nt $bundle ]] || return 0
  python3 - "$bundle" "$CACHE/trust.jks" <<'X'
import base64, hashlib, re, struct, sys
pem = open(sys.argv[1]).read()
certs = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.S)
text = lambda s: struct.pack(">H", len(s)) + s.encode()
store = struct.pack(">III", 0xFEEDFEED, 2, len(certs))
for number, cert in enumerate(map(base64.b64decode, certs)):
    store += struct.pack(">I", 2) + text("ca%d" % number) + struct.pack(">Q", 0) + text("X.509")
    store += struct.pack(">I", len(cert)) + cert
digest = hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()
open(sys.argv[2], "wb").write(store + digest)
X
}

# fetch GROUP NAME VERSION: the jar, to the cache.
fetch() {
  local log=$CACHE/maven.log part=$CACHE/part plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
  [[ ! -s $CACHE/$2-$3.jar ]] || return 0
  command -v mvn >/dev/null || die "maven is missing: run scripts/install.sh demo"
  say "fetching $2 $3"
  trust_store
  MAVEN_OPTS="${MAVEN_OPTS:-} -Djavax.net.ssl.trustStore=$CACHE/trust.jks" \
    mvn -q -B "$plugin:copy" "-Dartifact=$1:$2:$3:jar" "-DoutputDirectory=$part" >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "maven cannot fetch $1:$2:$3 (all of its output: $log)"; }
  mv "$part/$2-$3.jar" "$CACHE/$2-$3.jar"
}

# log4j_config: the WAR holds one, the jars do not: without it all of Gerrit logs at DEBUG, 40 lines a request.
log4j_config() {
  cat <<'X'
log4j.rootCategory=INFO, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=[%d] [%t] %-5p %c %x: %m%n
log4j.logger.org.apache.sshd=WARN
log4j.logger.org.eclipse.jetty=WARN
X
}

# get_program: sets COMMAND, the server's command line up to its own arguments.
get_program() {
  local artifact group name version classpath='' own=$CACHE/version-$VERSION
  mkdir -p "$own/com/google/gerrit/common"
  exec 8>"$CACHE/fetch.lock"
  flock 8
  for artifact in "${ARTIFACTS[@]}"; do
    IFS=: read -r group name version <<<"$artifact"
    fetch "$group" "$name" "${version:-$VERSION}"
    classpath+=$CACHE/$name-${version:-$VERSION}.jar:
  done
  [[ -s $own/log4j.properties ]] || { echo "v$VERSION" >"$own/com/google/gerrit/common/Version"; log4j_config >"$own/log4j.properties"; }
  exec 8>&-
  COMMAND=("$JAVA" "-Xmx$HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true
    -Djava.security.egd=file:/dev/./urandom
    "-Dflogger.backend_factory=com.google.common.flogger.backend.log4j.Log4jBackendFactory#getInstance"
    "-Dflogger.logging_context=com.google.gerrit.server.logging.LoggingContext#getInstance")
  ((JAVA_MAJOR < 24)) || COMMAND+=(--sun-misc-unsafe-memory-access=allow --enable-native-access=ALL-UNNAMED)
  COMMAND+=(-cp "$classpath$own" com.google.gerrit.launcher.GerritLauncher)
}

# ---- a site -----------------------------------------------------------------------------------------------------
# The functions below work on the site $SITE with the ports $HTTP_PORT and $SSH_PORT.

url() { echo "http://127.0.0.1:$HTTP_PORT"; }

cfg() { git config -f "$SITE/etc/gerrit.config" "$1" "$2"; }

# write_config: all that is the same in every copy of a template.
write_config() {
  mkdir -p "$SITE/etc"
  cfg gerrit.basePath git
  cfg auth.type DEVELOPMENT_BECOME_ANY_ACCOUNT
  cfg auth.gitBasicAuthPolicy HTTP
  cfg httpd.minThreads 2
  cfg httpd.maxThreads 16
  cfg sshd.threads 8
  cfg sshd.batchThreads 2   # Service Users run in the batch pool
  cfg sshd.streamThreads 8  # at least one more than there are readers of the stream
  cfg index.type lucene
  cfg index.threads 1
  cfg index.batchThreads 1
  cfg sendemail.enable false
  cfg change.mergeabilityComputationBehavior API_REF_UPDATED_AND_CHANGE_REINDEX
  cfg plugins.allowRemoteAdmin true
  cfg core.packedGitLimit 32m
  cfg log.compress false
  cfg experiments.enabled GerritBackendFeature__allow_fix_suggestions_in_comments # else a fix suggestion is a 500
}

# write_ports: what each copy has for itself.
write_ports() {
  cfg gerrit.canonicalWebUrl "$(url)/"
  cfg httpd.listenUrl "$(url)/"
  cfg sshd.listenAddress "127.0.0.1:$SSH_PORT"
  cfg container.heapLimit "$HEAP"
  cfg change.submitWholeTopic "${GERRIT_SUBMIT_WHOLE_TOPIC:-false}"
}

init_site() {
  "${COMMAND[@]}" init --batch --dev --no-auto-start --skip-plugins -d "$SITE" >"$SITE/init.log" 2>&1 ||
    { tail -n 20 "$SITE/init.log" >&2; die "init failed (all of its output: $SITE/init.log)"; }
}

# running: is the process of the pid file alive, and this site's?
running() {
  local pid
  pid=$(cat "$SITE/gerrit.pid" 2>/dev/null) && [[ -n $pid ]] &&
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "daemon -d $SITE "
}

answers() { curl -fsS -m 5 "$(url)/config/server/version" >/dev/null 2>&1 && (exec 3<>"/dev/tcp/127.0.0.1/$SSH_PORT") 2>/dev/null; }

# start: returns once REST and SSH answer. The server inherits none of our locks.
start() {
  local deadline=$((SECONDS + START_SECONDS))
  if ! running; then
    ! (exec 3<>"/dev/tcp/127.0.0.1/$HTTP_PORT") 2>/dev/null || die "port $HTTP_PORT is taken by another program: set HTTP_PORT"
    setsid "${COMMAND[@]}" daemon -d "$SITE" --headless --console-log >"$SITE/console.log" 2>&1 </dev/null 8>&- 9>&- &
    echo $! >"$SITE/gerrit.pid"
  fi
  until answers; do
    kill -0 "$(cat "$SITE/gerrit.pid")" 2>/dev/null || { tail -n 30 "$SITE/console.log" >&2; die "Gerrit ended while starting (all of its output: $SITE/console.log)"; }
    ((SECONDS < deadline)) || die "Gerrit does not answer after $START_SECONDS s: see $SITE/console.log"
    sleep 0.1
  done
}

# stop [-KILL]: by the pid that we wrote, and only if that process serves this site.
stop() {
  local pid deadline=$((SECONDS + 60))
  if running; then
    pid=$(cat "$SITE/gerrit.pid")
    kill "${1:--TERM}" "$pid"
    while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
    ! kill -0 "$pid" 2>/dev/null || kill -9 "$pid"
  fi
  rm -f "$SITE/gerrit.pid"
}

# ---- accounts, labels, rights -----------------------------------------------------------------------------------

# api METHOD PATH [JSON]: the answer's body; 409 (it exists already) is not an error.
api() {
  local method=$1 path=$2 body=${3:-} out code
  local args=(-sS -u "admin:$ADMIN_TOKEN" -X "$method" -w '\n%{http_code}')
  [[ -z $body ]] || args+=(-H 'Content-Type: application/json; charset=UTF-8' --data-binary "$body")
  out=$(curl "${args[@]}" "$(url)/a$path")
  code=${out##*$'\n'} out=${out%$'\n'*}
  case $code in 2?? | 409) ;; *) die "$method $path: $code $out" ;; esac
  printf '%s\n' "${out#)]\}\'}"
}

exists() { [[ $(curl -s -o /dev/null -w '%{http_code}' -u "admin:$ADMIN_TOKEN" "$(url)/a$1") == 200 ]]; }

keypair() { ssh-keygen -q -t ed25519 -N '' -C "$1@example.com" -f "$SITE/accounts/$1.key"; }

# account NAME "FULL NAME" GROUPS-JSON
account() {
  keypair "$1"
  api PUT "/accounts/$1" "$(printf '{"name":"%s","email":"%s@example.com","http_password":"%s-secret","ssh_key":"%s","groups":%s}' \
    "$2" "$1" "$1" "$(cat "$SITE/accounts/$1.key.pub")" "$3")" >/dev/null
}

# group_uuid NAME: Gerrit's JSON is pretty or compact, and jq may be absent.
group_uuid() { api GET "/groups/$1" | tr ',{' '\n\n' | sed -n 's/^ *"id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1; }

accounts() {
  mkdir -p "$SITE/accounts"
  keypair admin
  curl -fsS -u "admin:$ADMIN_TOKEN" -H 'Content-Type: text/plain' --data-binary "@$SITE/accounts/admin.key.pub" \
    "$(url)/a/accounts/self/sshkeys" >/dev/null
  api PUT /groups/Reviewers '{"description":"may approve","visible_to_all":true}' >/dev/null
  account gate 'Gating Bot' '["Service Users"]'
  account maintainer 'Mai Maintainer' '["Reviewers"]'
  account reviewer 'Rae Reviewer' '["Reviewers"]'
  account limited 'Lou Limited' '[]'
}

# labels: Verified is the gate's own; Workflow +1 is a person's word that the change may merge.
labels() {
  local r
  api PUT /projects/All-Projects/labels/Verified '{
    "commit_message": "Add label Verified", "function": "NoBlock", "default_value": 0,
    "values": {"-2": "Gate failed", "-1": "Check failed", " 0": "No score", "+1": "Check passed", "+2": "Gate passed"},
    "copy_condition": "changekind:NO_CODE_CHANGE"}' >/dev/null
  api PUT /projects/All-Projects/labels/Workflow '{
    "commit_message": "Add label Workflow", "function": "NoBlock", "default_value": 0,
    "values": {"-1": "Work in progress", " 0": "Ready for review", "+1": "Approved for merge"},
    "copy_condition": "changekind:TRIVIAL_REBASE OR changekind:NO_CODE_CHANGE"}' >/dev/null
  for r in Verified Workflow; do
    api PUT "/projects/All-Projects/submit_requirements/$r" "$(printf \
      '{"name":"%s","submittability_expression":"label:%s=MAX AND -label:%s=MIN","applicability_expression":"-branch:refs/meta/config","allow_override_in_child_projects":true}' \
      $r $r $r)" >/dev/null
  done
}

# allow UUID [MIN MAX]: one rule of a permission.
allow() { printf '"%s":{"action":"ALLOW"%s}' "$1" "${2:+,\"min\":$2,\"max\":$3}"; }

rights() {
  local gate reviewers
  gate=$(group_uuid Service%20Users) reviewers=$(group_uuid Reviewers)
  [[ $gate && $reviewers ]] || die "the groups Service Users and Reviewers were not found"
  api POST /projects/All-Projects/access "{\"message\":\"Rights of the gate and the reviewers\",\"add\":{
    \"GLOBAL_CAPABILITIES\":{\"permissions\":{
      \"streamEvents\":{\"rules\":{$(allow "$gate")}},
      \"priority\":{\"rules\":{\"$gate\":{\"action\":\"BATCH\"}}}}},
    \"refs/heads/*\":{\"permissions\":{
      \"label-Verified\":{\"label\":\"Verified\",\"rules\":{$(allow "$gate" -2 2)}},
      \"label-Code-Review\":{\"label\":\"Code-Review\",\"rules\":{$(allow "$reviewers" -2 2)}},
      \"label-Workflow\":{\"label\":\"Workflow\",\"rules\":{$(allow "$reviewers" -1 1)}},
      \"removeLabel-Verified\":{\"label\":\"Verified\",\"rules\":{$(allow "$gate" -2 2)}},
      \"submit\":{\"rules\":{$(allow "$gate")}},
      \"rebase\":{\"rules\":{$(allow "$gate"),$(allow "$reviewers")}},
      \"abandon\":{\"rules\":{$(allow "$reviewers")}},
      \"editHashtags\":{\"rules\":{$(allow "$gate"),$(allow "$reviewers")}},
      \"editTopicName\":{\"rules\":{$(allow "$reviewers")}},
      \"toggleWipState\":{\"rules\":{$(allow "$reviewers")}},
      \"viewPrivateChanges\":{\"rules\":{$(allow "$gate")}},
      \"create\":{\"rules\":{$(allow "$reviewers")}}}}}}" >/dev/null
}

# ---- the template -----------------------------------------------------------------------------------------------

# free_port: one that nothing listens on at this moment.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  die "no free port"
}

# template: sets TEMPLATE, and makes it if the cache does not have it. Its name holds the version and a hash of the
# functions that make it, so that a changed right or account makes a new one.
template() {
  local key
  key=$({ declare -f write_config init_site account accounts labels allow rights; echo "$JAVA_MAJOR"; } | sha256sum | cut -c1-12)
  TEMPLATE=$CACHE/template-$VERSION-$key
  exec 9>"$TEMPLATE.lock"
  flock 9
  [[ -d $TEMPLATE ]] || make_template
  exec 9>&-
}

make_template() (
  local began=$SECONDS
  say "making the site template of $VERSION (once)"
  rm -rf "$TEMPLATE.part"
  mkdir -p "$TEMPLATE.part"
  SITE=$TEMPLATE.part HTTP_PORT=$(free_port) SSH_PORT=$(free_port)
  trap stop EXIT
  write_config
  write_ports
  init_site
  start
  accounts
  labels
  rights
  stop
  rm -rf "$SITE"/{logs,tmp,console.log,init.log,bin/gerrit.war}
  mkdir -p "$SITE"/{logs,tmp}
  mv "$SITE" "$TEMPLATE"
  say "template made in $((SECONDS - began)) s"
)

# ---- the commands -----------------------------------------------------------------------------------------------

# write_env: what others need to know. The host keys are read from the site, not from the network.
write_env() {
  local user f
  for f in "$SITE"/etc/ssh_host_*_key.pub; do
    printf '[127.0.0.1]:%s %s\n' "$SSH_PORT" "$(cut -d' ' -f1,2 "$f")"
  done >"$SITE/known_hosts"
  {
    printf 'GERRIT_VERSION=%s\nGERRIT_URL=%s\nGERRIT_HTTP_PORT=%s\n' "$VERSION" "$(url)" "$HTTP_PORT"
    printf 'GERRIT_SSH_HOST=127.0.0.1\nGERRIT_SSH_PORT=%s\n' "$SSH_PORT"
    printf 'GERRIT_KNOWN_HOSTS=%s\nGERRIT_PID=%s\n' "$SITE/known_hosts" "$(cat "$SITE/gerrit.pid")"
    for user in admin gate maintainer reviewer limited; do
      printf '%s_USER=%s\n%s_KEY=%s\n' "${user^^}" "$user" "${user^^}" "$SITE/accounts/$user.key"
      [[ $user != admin ]] || printf 'ADMIN_TOKEN=%s\n' "$ADMIN_TOKEN"
      [[ $user == admin ]] || printf '%s_TOKEN=%s\n' "${user^^}" "$user-secret"
    done
  } >"$SITE/env"
}

# follow_owner: leaves a small process behind that stops the server when its owner has ended.
follow_owner() {
  [[ -n ${GERRIT_OWNER_PID:-} ]] || return 0
  (tail --pid="$GERRIT_OWNER_PID" -f /dev/null; stop) >/dev/null 2>&1 </dev/null 9>&- &
  disown
}

up() {
  local began=$SECONDS
  mkdir -p "$CACHE" "$(dirname "$SITE")"
  pick_java
  get_program
  if [[ ! -d $SITE/git/All-Projects.git ]]; then
    template
    rm -rf "$SITE.part"
    cp -a "$TEMPLATE" "$SITE.part"
    mv "$SITE.part" "$SITE"
  fi
  exec 9>"$SITE/lock"
  flock 9
  if ! running; then write_ports; fi
  start
  write_env
  follow_owner
  exec 9>&-
  say "Gerrit $VERSION on Java $JAVA_MAJOR at $(url) and ssh://127.0.0.1:$SSH_PORT, up in $((SECONDS - began)) s"
  cat "$SITE/env"
}

# project NAME [TYPE [BRANCH...]]: with an empty first commit on each branch (default: main).
project() {
  local name=${1//\//%2F} type=${2:-MERGE_IF_NECESSARY} branches='"main"'
  if (($# > 2)); then branches=$(printf '"%s",' "${@:3}"); branches=${branches%,}; fi
  # shellcheck source=/dev/null
  HTTP_PORT=$(. "$SITE/env" && echo "$GERRIT_HTTP_PORT")
  if exists "/projects/$name"; then
    api PUT "/projects/$name/config" "{\"submit_type\":\"$type\"}" >/dev/null
  else
    api PUT "/projects/$name" "{\"create_empty_commit\":true,\"branches\":[$branches],\"submit_type\":\"$type\"}" >/dev/null
  fi
}

case ${1:-} in
  up) up ;;
  template) mkdir -p "$CACHE"; pick_java; get_program; template ;;
  env) cat "$SITE/env" 2>/dev/null || die "no Gerrit was started at $SITE: run scripts/gerrit.sh up" ;;
  project) [[ $# -ge 2 ]] || usage; shift; project "$@" ;;
  down) stop ;;
  purge) stop -KILL; rm -rf "$SITE" ;;
  *) usage ;;
esac
