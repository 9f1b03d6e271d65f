package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/api"
	"sluice/internal/client"
)

// clientCommands are the verbs that ask a service, or tell it something. Their
// exit status is 0: done; 1: the service refused, or could not be reached; 2:
// used wrongly.
type clientCommands struct {
	Status  statusCommand  `cmd:"" help:"Say how the service is: its queues, workers and streams." group:"Ask and tell a service"`
	Show    showCommand    `cmd:"" help:"Show a change, a queue, a buildset, a job or a repository." group:"Ask and tell a service"`
	Why     whyCommand     `cmd:"" help:"Say where a change is, what it waits for, on whose account, and what happens next." group:"Ask and tell a service"`
	Logs    logsCommand    `cmd:"" help:"Write the log of a job." group:"Ask and tell a service"`
	Enqueue enqueueCommand `cmd:"" help:"Let a change enter the gate without being ready, or again." group:"Ask and tell a service"`
	Dequeue dequeueCommand `cmd:"" help:"Take a change out of the gate." group:"Ask and tell a service"`
	Promote promoteCommand `cmd:"" help:"Move a change, and what it needs, to the head of its queue." group:"Ask and tell a service"`
	Retry   retryCommand   `cmd:"" help:"Test a change again, or run one job once more." group:"Ask and tell a service"`
	Pause   pauseCommand   `cmd:"" help:"Start and submit nothing new in a queue." group:"Ask and tell a service"`
	Resume  resumeCommand  `cmd:"" help:"Undo a pause." group:"Ask and tell a service"`

	Replay   replayCommand   `cmd:"" help:"Decide again what a queue has decided, and compare." group:"Ask and tell a service"`
	Simulate simulateCommand `cmd:"" help:"Say when each change is expected to merge, and what would be different if." group:"Ask and tell a service"`
}

// address is which service is asked, and as whom.
type address struct {
	URL   string `help:"The service's address." default:"http://127.0.0.1:8080" env:"SLUICE_URL" placeholder:"URL"`
	Token string `help:"An operator's token; better set in the environment, where others do not see it." env:"SLUICE_TOKEN" placeholder:"TOKEN"`
}

// connection is an address, and how the answer is written.
type connection struct {
	address
	JSON bool `help:"Write the API's own answer, for machines." name:"json"`
}

// exitStatus is said in the help of every verb.
const exitStatus = "Exit status: 0: done; 1: the service refused, or could not be reached, and standard error says why; 2: used wrongly."

// Help is shown below the command's own.
func (address) Help() string { return exitStatus }

func (c address) client() (*client.Client, error) {
	service, err := client.New(c.URL, c.Token)
	if err != nil {
		return nil, misuse{err}
	}
	return service, nil
}

// say writes an answer: for machines as it is, else by table.
func (c connection) say(o output, v any, table func(*table)) error {
	if c.JSON {
		text := json.NewEncoder(o.out)
		text.SetIndent("", "  ")
		text.SetEscapeHTML(false)
		return text.Encode(v)
	}
	t := newTable(o.out)
	table(t)
	return t.flush()
}

// change finds the change that is meant by 1234, main~1234 or its address on
// the page. A number alone will do where there is one Gerrit.
func findChange(ctx context.Context, c *client.Client, word string) (gerrit string, number int, err error) {
	if _, after, ok := strings.Cut(word, "/change/"); ok {
		word = strings.Replace(strings.Trim(after, "/"), "/", "~", 1)
	}
	gerrit, digits, named := strings.Cut(word, "~")
	if !named {
		gerrit, digits = "", word
	}
	if number, err = strconv.Atoi(digits); err != nil || number < 1 || named && gerrit == "" {
		return "", 0, misused("%q is no change: 1234, or GERRIT~1234 is wanted", word)
	}
	if named {
		return gerrit, number, nil
	}
	status, err := c.Status(ctx)
	if err != nil {
		return "", 0, err
	}
	var names []string
	for _, s := range status.Streams {
		names = append(names, fmt.Sprintf("%s~%d", s.Gerrit, number))
	}
	if len(names) != 1 {
		return "", 0, misused("which Gerrit's change %d? %s", number, strings.Join(names, ", "))
	}
	return status.Streams[0].Gerrit, number, nil
}

// statusCommand shows the service at a glance.
type statusCommand struct{ connection }

// Run asks and writes.
func (c *statusCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	status, err := service.Status(ctx)
	if err != nil {
		return err
	}
	return c.say(o, status, func(t *table) { showStatus(t, status) })
}

// whyCommand explains.
type whyCommand struct {
	connection
	Change string `arg:"" help:"1234, or GERRIT~1234 where there are several."`
}

// Run asks and writes the tree of reasons.
func (c *whyCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	gerrit, number, err := findChange(ctx, service, c.Change)
	if err != nil {
		return err
	}
	why, err := service.Why(ctx, gerrit, number)
	if err != nil {
		return err
	}
	return c.say(o, why, func(t *table) { showWhy(t, why.Change, why.Pipelines) })
}

// logsCommand writes a log.
type logsCommand struct {
	address
	Job     string `arg:"" help:"The job's number."`
	Follow  bool   `short:"f" help:"Go on until the attempt has ended; wait for it to begin."`
	Attempt *int   `help:"Number of the attempt; the last one unless it is said." placeholder:"N"`
	Offset  int64  `help:"Byte to begin with; negative: from the end."`
}

// Run writes the log as it comes.
func (c *logsCommand) Run(ctx context.Context, o output) error {
	id, err := jobNumber(c.Job)
	if err != nil {
		return err
	}
	service, err := c.client()
	if err != nil {
		return err
	}
	from := client.LogOptions{Offset: c.Offset, Follow: c.Follow}
	if c.Attempt != nil {
		if from.Attempt = *c.Attempt; from.Attempt < 1 {
			return misused("attempt %d: they are counted from 1", from.Attempt)
		}
	}
	err = service.Log(ctx, o.out, id, from)
	if errors.Is(err, context.Canceled) {
		return nil // the reader has seen enough
	}
	return err
}

// jobNumber understands 7, job/7 and a job's address on the page.
func jobNumber(word string) (int64, error) {
	digits := word
	if i := strings.LastIndex(word, "job/"); i >= 0 {
		digits, _, _ = strings.Cut(word[i+len("job/"):], "#")
	}
	id, err := strconv.ParseInt(strings.Trim(digits, "/"), 10, 64)
	if err != nil || id < 1 {
		return 0, misused("%q is no job: its number is wanted", word)
	}
	return id, nil
}

// telling is a command to the service, with its reason.
type telling struct {
	connection
	Reason string `name:"why" short:"m" required:"" help:"Why it is done; recorded and shown to everybody."`
}

// Validate wants a reason before anything is asked.
func (c telling) Validate() error {
	if n := utf8.RuneCountInString(strings.TrimSpace(c.Reason)); n == 0 || n > 1000 {
		return errors.New("--why: say in 1 to 1000 characters why this is done")
	}
	return nil
}

// tell writes what the service answers.
func (c telling) tell(o output, a api.Answer, err error) error {
	if err != nil {
		return err
	}
	return c.say(o, a, func(t *table) {
		if !a.Done {
			t.line("The command is stored; the queue %s has not decided on it yet.", a.Queue)
			return
		}
		t.line("%s", a.Answer)
	})
}

// aboutChange is a command about a change.
type aboutChange struct {
	telling
	Change string `arg:"" help:"1234, or GERRIT~1234 where there are several."`
}

type changeVerb func(c *client.Client, ctx context.Context, gerrit string, number int, why string) (api.Answer, error)

func (c aboutChange) run(ctx context.Context, o output, verb changeVerb) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	gerrit, number, err := findChange(ctx, service, c.Change)
	if err != nil {
		return err
	}
	a, err := verb(service, ctx, gerrit, number, c.Reason)
	return c.tell(o, a, err)
}

type enqueueCommand struct{ aboutChange }

// Run enqueues.
func (c *enqueueCommand) Run(ctx context.Context, o output) error {
	return c.run(ctx, o, (*client.Client).Enqueue)
}

type dequeueCommand struct{ aboutChange }

// Run dequeues.
func (c *dequeueCommand) Run(ctx context.Context, o output) error {
	return c.run(ctx, o, (*client.Client).Dequeue)
}

type promoteCommand struct{ aboutChange }

// Run promotes.
func (c *promoteCommand) Run(ctx context.Context, o output) error {
	return c.run(ctx, o, (*client.Client).Promote)
}

type retryCommand struct {
	telling
	What     string `arg:"" help:"A change (1234, GERRIT~1234), or a job (job/7)."`
	Pipeline string `enum:",check,gate" default:"" help:"Of a change: test it again in its check, or in the gate. Unless it is said, where it was last."`
}

// Run retries.
func (c *retryCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if strings.Contains(c.What, "job/") {
		id, err := jobNumber(c.What)
		if err != nil {
			return err
		}
		a, err := service.RetryJob(ctx, id, c.Reason)
		return c.tell(o, a, err)
	}
	gerrit, number, err := findChange(ctx, service, c.What)
	if err != nil {
		return err
	}
	a, err := service.Retry(ctx, gerrit, number, c.Pipeline, c.Reason)
	return c.tell(o, a, err)
}

// aboutQueue is a command about a queue.
type aboutQueue struct {
	telling
	Queue string `arg:"" optional:"" default:"main" help:"The queue's name (default: main)."`
}

// Validate wants a name.
func (c aboutQueue) Validate() error {
	if c.Queue == "" {
		return errors.New("a queue's name is wanted")
	}
	return c.telling.Validate()
}

type pauseCommand struct{ aboutQueue }

// Run pauses.
func (c *pauseCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	a, err := service.Pause(ctx, c.Queue, c.Reason)
	return c.tell(o, a, err)
}

type resumeCommand struct{ aboutQueue }

// Run resumes.
func (c *resumeCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	a, err := service.Resume(ctx, c.Queue, c.Reason)
	return c.tell(o, a, err)
}
