// Command devserver shows the page with canned answers, for work on it:
// jobs go on writing by themselves.
//
//	go run ./web/devserver [-world busy|quiet] [-listen 127.0.0.1:8090]
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"sluice/web/webtest"
)

func main() {
	world := flag.String("world", "busy", "busy or quiet")
	listen := flag.String("listen", "127.0.0.1:8090", "where to listen")
	page := flag.String("page", "web/dist", "the built page; go run ./web/build makes it")
	flag.Parse()
	makes := map[string]func(time.Time) *webtest.World{"busy": webtest.Busy, "quiet": webtest.Quiet}
	if makes[*world] == nil {
		log.Fatalf("devserver: there is no world %q: busy or quiet", *world)
	}
	s := webtest.New(os.DirFS(*page), makes[*world](time.Now()))
	go play(s)
	log.Printf("devserver: http://%s/", *listen)
	log.Fatal(http.ListenAndServe(*listen, s.Handler()))
}

// play writes a line to every log that is not finished, each second.
func play(s *webtest.Service) {
	for n := 1; ; n++ {
		<-time.After(time.Second)
		s.Change(func(w *webtest.World) {
			for _, l := range w.Logs {
				if !l.Ended {
					l.Text = fmt.Appendf(l.Text, "checking for part %d... yes\n", n)
				}
			}
		})
	}
}
