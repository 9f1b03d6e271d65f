#!/bin/bash
# A server and a client on one network: the client asks, and the version under test answers.
set -eu
on server systemctl start mini-httpd
wanted=$(on server sh -c 'if command -v dpkg-query >/dev/null; then dpkg-query -W -f "\${Version}" mini-httpd; else rpm -q --qf "%{VERSION}-%{RELEASE}" mini-httpd; fi')
ask='exec 3<>/dev/tcp/server/8080 && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3'
tries=0
until answer=$(on client bash -c "$ask"); do
  tries=$((tries + 1))
  if ((tries > 50)); then echo "nothing answers on the server's port 8080" >&2; exit 1; fi
  sleep 0.2
done
said=$(tr -d '\r' <<<"$answer" | sed -n 's,^Server: mini_httpd/,,p')
if [[ $said != "$wanted" ]]; then
  echo "mini-httpd $said answered, and $wanted is installed" >&2
  exit 1
fi
grep -q "It works" <<<"$answer"
echo "the client was answered by mini-httpd $said"
