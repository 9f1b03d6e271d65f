package sandbox

// hostTools are the paths of the worker's own system that MakeRoot's boxes
// see, read only: programs and the data they need, no one's files.
type hostTools struct{ paths []string }
