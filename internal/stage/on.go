package stage

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"sluice/internal/environment"
	"sluice/internal/sandbox"
)

// onScript is the command "on" of a scenario's box:
//
//	on NODE COMMAND [ARGUMENT…]     run a command as root on a node
//	on -i NODE COMMAND [ARGUMENT…]  the same, with on's standard input
//	on NODE reboot                  restart a node, and wait for it
//
// It ends with the command's exit status. It speaks to the worker over the
// box's one listener: the request is a line per word, in base64; the answer is
// lines of output ("1 …" and "2 …", in base64) and at the end "x STATUS".
const onScript = `#!/bin/bash
input=
if [[ ${1:-} == -i ]]; then input=yes; shift; fi
if (( $# < 2 )); then echo "usage: on [-i] NODE COMMAND [ARGUMENT...]" >&2; exit 2; fi
body=
for word in "$@"; do body+=$(printf %s "$word" | base64 -w0)$'\n'; done
if [[ $input ]]; then body+=$'\n'$(base64 -w0); fi
exec 3<>/dev/tcp/127.0.0.1/3142 || exit 255
printf 'POST /on HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
while IFS= read -r line <&3; do [[ $line == $'\r' ]] && break; done
while read -r kind data <&3; do
  case $kind in
  1) base64 -d <<<"$data" ;;
  2) base64 -d <<<"$data" >&2 ;;
  x) exit "$data" ;;
  esac
done
echo "on: the connection to node $1 was lost" >&2
exit 255
`

// maxRequest bounds a request of on, with its standard input.
const maxRequest = 64 << 20

// remote answers the requests of on.
type remote struct {
	a   *attempt
	env environment.Environment
}

func (r *remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost || req.URL.Path != "/on" {
		http.NotFound(w, req)
		return
	}
	words, input, err := parseOn(io.LimitReader(req.Body, maxRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusOK)
	var mu sync.Mutex // guards w: a frame at a time
	frame := func(kind, data string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s %s\n", kind, data)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	err = r.do(req.Context(), words, input, frames{"1", frame}, frames{"2", frame})
	status := 0
	var exit *sandbox.ExitError
	switch {
	case errors.As(err, &exit):
		if status = exit.Code; status < 0 {
			status = 137
		}
	case err != nil:
		status = 255
		frames{"2", frame}.Write([]byte("on: " + err.Error() + "\n"))
	}
	frame("x", fmt.Sprint(status))
}

// do runs the command, or restarts the node.
func (r *remote) do(ctx context.Context, words []string, input string, out, errs io.Writer) error {
	node, args := words[0], words[1:]
	r.a.log.Printf("on %s: %s", node, cutText(strings.Join(args, " "), 500))
	if len(args) == 1 && args[0] == "reboot" {
		return r.env.Reboot(ctx, node)
	}
	return r.env.Exec(ctx, environment.Command{Node: node, Args: args, Stdin: strings.NewReader(input), Stdout: out, Stderr: errs})
}

// parseOn reads the words and the standard input of a request.
func parseOn(body io.Reader) (words []string, input string, err error) {
	lines := bufio.NewReader(body)
	for {
		line, readErr := lines.ReadString('\n')
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		word, err := base64.StdEncoding.DecodeString(line)
		if err != nil || strings.ContainsRune(string(word), 0) {
			return nil, "", errors.New("on: a word that is not base64")
		}
		words = append(words, string(word))
		if readErr != nil {
			break
		}
	}
	if len(words) < 2 || len(words) > 10000 {
		return nil, "", errors.New("on: a node and a command are wanted")
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		return nil, "", err
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(rest)))
	return words, string(data), err
}

// frames writes output as frames of one kind.
type frames struct {
	kind string
	send func(kind, data string)
}

func (f frames) Write(p []byte) (int, error) {
	for n := 0; n < len(p); n += 32 << 10 {
		f.send(f.kind, base64.StdEncoding.EncodeToString(p[n:min(len(p), n+32<<10)]))
	}
	return len(p), nil
}
