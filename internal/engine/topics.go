package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/gerrit"
	"sluice/internal/record"
)

// settingAge is how long a Gerrit's own settings are taken as they were read.
const settingAge = 5 * time.Minute

// setting is a server's setting with the time at which it was read.
type setting struct {
	whole bool
	at    time.Time
}

// wholeTopics reports whether a Gerrit submits all changes of a topic at once.
// It is asked now and then; one that does not answer is taken as it was.
func (e *Engine) wholeTopics(ctx context.Context, name string) (bool, error) {
	known, ok := e.settings.Load(name)
	if ok && e.Now().Sub(known.(setting).at) < settingAge {
		return known.(setting).whole, nil
	}
	whole, err := e.Gerrits[name].WholeTopics(ctx)
	if err != nil && ok {
		return known.(setting).whole, nil
	}
	if err != nil {
		return false, fmt.Errorf("settings of Gerrit %s: %w", name, err)
	}
	e.settings.Store(name, setting{whole, e.Now()})
	return whole, nil
}

// topic is what the gate is to know of a change's topic: nothing, where it does
// not bind (G3).
func (e *Engine) topic(ctx context.Context, name string, c *gerrit.Change) (string, error) {
	if c.Topic == "" {
		return "", nil
	}
	whole, err := e.wholeTopics(ctx, name)
	if err != nil || !whole {
		return "", err
	}
	return name + ":" + c.Topic, nil
}

// topicMates has the open changes of a change's topic read that are not known,
// or not as being of it: their own events may be lost.
func (e reading) topicMates(ctx context.Context, name string, server Gerrit, c *gerrit.Change) error {
	mates, err := server.Query(ctx, "status:open topic:"+gerrit.Quote(c.Topic), 0)
	if err != nil {
		return fmt.Errorf("topic %s of change %d: %w", c.Topic, c.Number, err)
	}
	for i := range mates {
		if mates[i].Topic != c.Topic {
			continue
		}
		if err := e.readMate(ctx, name, server, mates[i].Number, name+":"+c.Topic); err != nil {
			return err
		}
	}
	return nil
}

func (e reading) readMate(ctx context.Context, name string, server Gerrit, number int, topic string) error {
	mate := id(name, number)
	if err := e.readMissing(ctx, mate); err != nil {
		return err
	}
	known, err := e.Store.Change(ctx, mate)
	if errors.Is(err, record.ErrNotFound) || slices.Contains(e.within, mate) || known.Facts.Topic == topic {
		return nil
	}
	if err != nil {
		return err
	}
	return e.read(ctx, name, server, number)
}
