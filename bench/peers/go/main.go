// The service the way the first system had it: net/http, gorilla/websocket, a reading and a writing
// goroutine a player, a bounded queue a player. An event is encoded and framed once (PreparedMessage).
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	pingPeriod = 25 * time.Second
	// Events a player may be behind before it is closed.
	queueLength = 4096
)

type player struct {
	conn  *websocket.Conn
	queue chan *websocket.PreparedMessage
}

type hunt struct {
	sync.Mutex
	offset  uint64
	players map[*player]struct{}
}

var (
	huntsLock sync.Mutex
	hunts     = map[string]*hunt{}
	upgrader  = websocket.Upgrader{WriteBufferPool: &sync.Pool{}}
)

func huntOf(name string) *hunt {
	huntsLock.Lock()
	defer huntsLock.Unlock()
	one := hunts[name]
	if one == nil {
		one = &hunt{players: map[*player]struct{}{}}
		hunts[name] = one
	}
	return one
}

func prepare(text string) *websocket.PreparedMessage {
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(text))
	if err != nil {
		log.Fatal(err)
	}
	return message
}

type command struct {
	ID        int              `json:"id"`
	Connect   *json.RawMessage `json:"connect"`
	Subscribe *struct {
		Channel string `json:"channel"`
	} `json:"subscribe"`
}

func serve(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	one := &player{conn: conn, queue: make(chan *websocket.PreparedMessage, queueLength)}
	done := make(chan struct{})
	go one.write(done)
	var joined *hunt
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			break
		}
		for _, line := range strings.Split(string(text), "\n") {
			var c command
			if line == "{}" {
				continue
			}
			if json.Unmarshal([]byte(line), &c) != nil {
				break
			}
			if c.Connect != nil {
				one.send(prepare(fmt.Sprintf(`{"id":%d,"connect":{"client":"go","ping":25,"pong":true}}`, c.ID)))
			} else if c.Subscribe != nil {
				joined = huntOf(c.Subscribe.Channel)
				joined.Lock()
				joined.players[one] = struct{}{}
				one.send(prepare(fmt.Sprintf(`{"id":%d,"subscribe":{"epoch":"go","offset":%d}}`, c.ID, joined.offset)))
				joined.Unlock()
			}
		}
	}
	if joined != nil {
		joined.Lock()
		delete(joined.players, one)
		joined.Unlock()
	}
	close(done)
	conn.Close()
}

func (p *player) send(message *websocket.PreparedMessage) {
	select {
	case p.queue <- message:
	default:
		p.conn.Close()
	}
}

func (p *player) write(done chan struct{}) {
	ping := prepare("{}")
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		message := ping
		select {
		case message = <-p.queue:
		case <-ticker.C:
		case <-done:
			return
		}
		if p.conn.WritePreparedMessage(message) != nil {
			p.conn.Close()
			return
		}
	}
}

func publish(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Channel string          `json:"channel"`
		Data    json.RawMessage `json:"data"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &event) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	name, _ := json.Marshal(event.Channel)
	one := huntOf(event.Channel)
	one.Lock()
	one.offset++
	offset := one.offset
	message := prepare(fmt.Sprintf(`{"push":{"channel":%s,"pub":{"data":%s,"offset":%d}}}`, name, event.Data, offset))
	for p := range one.players {
		p.send(message)
	}
	one.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"result":{"offset":%d,"epoch":"go"}}`, offset)
}

func main() {
	http.HandleFunc("/connection/websocket", serve)
	http.HandleFunc("/api/publish", publish)
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
