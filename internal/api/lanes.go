package api

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	contract "sluice/api"
	"sluice/internal/gate"
)

// laneNames is how many projects a lane is called by.
const laneNames = 2

// addLanes tells of the lanes of a queue, and of what is active in them.
func (s *server) addLanes(ctx context.Context, q *contract.QueueSummary) {
	state, facts, err := s.Facts(ctx, q.Name)
	if err != nil {
		s.Log.Warn("the lanes of a queue cannot be read", "queue", q.Name, "error", err)
		return
	}
	places := gate.Order(state, facts)
	q.Lanes, q.Active = lanesOf(places, state.Window), active(places)
}

func active(places []gate.Place) (n int) {
	for _, p := range places {
		if p.Active {
			n++
		}
	}
	return n
}

// lanesOf gives the lanes that have items which are shown, in the order of these;
// nil where the queue has none.
func lanesOf(places []gate.Place, window int) *[]contract.Lane {
	var lanes []contract.Lane
	projects := map[int64][]string{}
	for _, p := range places {
		if p.Lane == 0 || slices.ContainsFunc(p.Changes, func(r gate.Ref) bool { return gate.Hidden(r.ID) }) {
			continue
		}
		id := int64(p.Lane)
		i := slices.IndexFunc(lanes, func(l contract.Lane) bool { return l.ID == id })
		if i < 0 {
			i, lanes = len(lanes), append(lanes, contract.Lane{ID: id, Window: window})
		}
		lanes[i].Items++
		if p.Active {
			lanes[i].Active++
		}
		for _, r := range p.Changes {
			if name := projectWord(r.Branch.Project); !slices.Contains(projects[id], name) {
				projects[id] = append(projects[id], name)
			}
		}
	}
	for i := range lanes {
		lanes[i].Name = laneName(projects[lanes[i].ID])
	}
	return listedOrNone(lanes)
}

func laneName(projects []string) string {
	more := len(projects) - laneNames
	if more <= 0 {
		return strings.Join(projects, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(projects[:laneNames], ", "), more)
}

// projectWord is a project as people call it: "main:packages/hello" is "hello".
func projectWord(project string) string {
	_, name, _ := strings.Cut(project, ":")
	return path.Base(name)
}

func listedOrNone(lanes []contract.Lane) *[]contract.Lane {
	if len(lanes) == 0 {
		return nil
	}
	return &lanes
}
