// Package webhook publishes messages by HTTP POST.
//
// The body is a CloudEvent in structured JSON unless Config.Encode makes another.
// Requests are signed by the Standard Webhooks scheme: the headers webhook-id,
// webhook-timestamp and webhook-signature, so that receivers can verify them with
// the libraries of that project. The id is the message's id (a digest of it, where it is
// no printable ASCII), the same in every attempt; the header Idempotency-Key has it too.
// A receiver that must not do things twice remembers the ids.
//
// Config.Mode chooses the binary mode of CloudEvents, or the batched one. A request of
// several messages has an id of its own, which is the same for the same messages; the
// receiver takes all of them, or none. Where it refuses them by a status that is about
// them they are sent once more, each by itself, so that one of them does not cost the
// others an attempt. So receivers that remember must remember the ids of events.
//
// # What an answer means
//
//   - 2xx: relay.Stored. What comes after the status does not matter any more.
//   - 410 Gone, and the statuses in Config.Refused: relay.Refused.
//   - Every other status: relay.Retry, after what Retry-After says. This includes
//     3xx: redirects are never followed, since they would carry the signed message
//     to where nobody has configured it. It includes all other 4xx: most are wrong
//     configurations (a path, a token, a limit), and a message that was refused for
//     one should go out when it is corrected. The relay parks what goes on failing,
//     with the status as the reason.
//   - No connection, refused by the guard below, or a failed TLS handshake:
//     relay.Retry, since nothing was sent.
//   - No answer, after the request was begun (a timeout, a closed connection):
//     relay.Unknown. The receiver may have it.
//   - A message that can't be encoded: relay.Refused.
//
// The standard client sends a request again by itself when a connection that it
// used before turns out to be closed, before any answer. That is one attempt here.
//
// # Receivers that are away
//
// When Config.BreakAfter different messages in a row have got no answer, or a status of
// 500 or above, or 429, the receiver counts as away: what fails is relay.Unavailable, and
// no message uses up its attempts for it, until one is taken. Meanwhile one request at a
// time finds out. Several messages, since one that the receiver can't digest may well be
// answered by 500, and has to be parked.
//
// # What is guarded
//
// Destinations are often given by users. Unless Config.AllowPrivate is set, the
// publisher connects to public addresses only: the address is checked after the
// name was resolved, for each connection. Proxies of the environment are not used.
// At most Config.MaxResponseBytes of an answer are read.
//
// A URL can be a secret, in its user part, its query and its path. Errors name
// scheme and host only; answers are never part of an error.
package webhook
