// Package webhook publishes messages by HTTP POST.
//
// The body is a CloudEvent in structured JSON unless Config.Encode makes another.
// Requests are signed by the Standard Webhooks scheme: the headers webhook-id,
// webhook-timestamp and webhook-signature, so that receivers can verify them with
// the libraries of that project. The id is the message's id, the same in every
// attempt; the header Idempotency-Key has it too. A receiver that must not do
// things twice remembers the ids.
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
