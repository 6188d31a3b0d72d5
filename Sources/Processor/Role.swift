// Names what a process does.

/// A worker applies events, an ingress takes them over HTTP; `all` is both.
enum Role: String, Sendable, CaseIterable {
    case all, worker, ingress
}
