package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// REST calls a Gerrit as one of its users; path begins behind "/a"
// ("/changes/7/submit"). body and into may be nil; into is decoded from the
// answer's JSON. An error holds the status and Gerrit's own words.
func REST(ctx context.Context, gerrit, user, token, method, path string, body, into any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, gerrit+"/a"+path, payload)
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s as %s: %s: %s", method, path, user, resp.Status, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(bytes.TrimPrefix(text, []byte(")]}'\n")), into)
}
