package gate

import "fmt"

// obey carries out the administrators' commands in order and answers each (G20).
func (d *decider) obey() {
	for _, c := range d.f.Commands {
		text, ok := d.command(c)
		d.emit(Effect{Kind: Answer, Command: c.ID, Text: text, Refused: !ok})
	}
}

// command carries out one; each is idempotent.
func (d *decider) command(c Command) (answer string, obeyed bool) {
	switch c.Verb {
	case "pause":
		if d.s.Paused == nil {
			d.s.Paused = new(c.Note)
		}
		return "the queue is paused: nothing new is started or submitted", true
	case "resume":
		d.s.Paused = nil
		return "the queue goes on", true
	}
	change, ok := d.f.Changes[c.Change]
	if !ok {
		return fmt.Sprintf("no change %s is known to the queue %s", c.Change, d.s.Queue), false
	}
	if d.s.Kind == Dependent && change.Queue != d.s.Queue && d.standing(change.ID) == nil {
		return fmt.Sprintf("%s is not of the queue %s", name(change.Number), d.s.Queue), false
	}
	c.Note.PatchSet = change.PatchSet
	switch c.Verb {
	case "enqueue":
		return d.enqueue(c, &change)
	case "dequeue":
		return d.dequeue(c, &change)
	case "retry":
		return d.retry(&change)
	case "promote":
		return d.promote(&change)
	}
	return fmt.Sprintf("no command is called %q: enqueue, dequeue, promote, retry, pause, resume are", c.Verb), false
}

func (d *decider) enqueue(c Command, change *Change) (string, bool) {
	if change.Status != Open {
		return fmt.Sprintf("%s is %s", name(change.Number), change.Status), false
	}
	d.unhold(change.ID)
	if d.standing(change.ID) != nil {
		return name(change.Number) + " stands in the queue already", true
	}
	d.again(change.ID)
	if d.s.Kind == Dependent {
		d.force(change.ID, c.Note)
	}
	return name(change.Number) + " enters as soon as what it needs is there", true
}

func (d *decider) dequeue(c Command, change *Change) (string, bool) {
	it := d.standing(change.ID)
	if it != nil && it.Verify {
		return name(change.Number) + " has merged already", false
	}
	if change.Status != Open {
		return fmt.Sprintf("%s is %s", name(change.Number), change.Status), false
	}
	d.unforce(change.ID)
	d.hold(change.ID, c.Note)
	if it != nil && it.Submit != nil {
		return name(change.Number) + " is being submitted; if that fails it leaves the queue", true
	}
	return name(change.Number) + " stays out until it is enqueued or has a new patch set", true
}

func (d *decider) retry(change *Change) (string, bool) {
	it := d.standing(change.ID)
	switch {
	case it != nil && it.Submit != nil:
		return name(change.Number) + " is being submitted", false
	case it != nil && it.Part != nil:
		return name(change.Number) + " has merged, and is being tested by itself", false
	case it != nil:
		d.dropAbove(map[ItemID]bool{it.ID: true})
		it = d.edit(d.drop(it))
		it.Retry, it.Recheck, it.Red = true, false, nil
		return name(change.Number) + " is tested again", true
	case change.Status != Open:
		return fmt.Sprintf("%s is %s", name(change.Number), change.Status), false
	}
	d.again(change.ID)
	if n, ok := d.held(change); ok {
		return fmt.Sprintf("%s was taken out by %s: enqueue it", name(change.Number), n.by()), false
	}
	return name(change.Number) + " is tested again as soon as it may enter", true
}

// promote moves an item and those that it needs to the head, in their order.
func (d *decider) promote(change *Change) (string, bool) {
	it := d.standing(change.ID)
	if d.s.Kind == Independent {
		return "a check stands in no queue", false
	}
	if it == nil {
		return name(change.Number) + " is not in the queue: enqueue it first", false
	}
	var ids []ItemID
	seen := map[ItemID]bool{}
	var take func(it *Item)
	take = func(it *Item) {
		if it == nil || seen[it.ID] {
			return
		}
		seen[it.ID] = true
		ids = append(ids, it.ID)
		for _, r := range it.Changes {
			for _, n := range d.needs(new(d.f.Changes[r.ID])) {
				take(d.standing(n.ID))
			}
		}
	}
	take(it)
	d.toFront(ids)
	return name(change.Number) + " and what it needs stand at the head", true
}
