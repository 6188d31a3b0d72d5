// Proves that pauses are kept by group, and that pausing and resuming are idempotent: on a real PostgreSQL.

import Postgres
import SluiceTables
import TestSupport
import Testing

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct PauseStoreTests {
    @Test func keepsPausesByGroup() async throws {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(uri: try await TestPostgres.database(migrated: true)))
        let (store, other) = (PauseStore(group: "g"), PauseStore(group: "h"))
        let (messages, third, fourth) = (
            PauseScope(topic: "messages"), PauseScope(topic: "messages", partition: 3),
            PauseScope(topic: "messages", partition: 4)
        )
        try await connection.perform { session in
            #expect(try store.all(on: session) == [])
            let (first, isNew) = try store.pause(third, reason: "bad 'rows' \u{1F41F}", by: "loopback", on: session)
            #expect(isNew)
            #expect(first.map(\.scope) == [third])
            #expect(first[0].reason == "bad 'rows' \u{1F41F}")
            #expect(first[0].pausedBy == "loopback")
            #expect(first[0].pausedAt.hasPrefix("20") && first[0].pausedAt.hasSuffix("Z"))
            // Again, by somebody else: it has been paused since the first time.
            #expect(try store.pause(third, reason: "bad 'rows' \u{1F41F}", by: "admin_token", on: session) == (first, false))
            let worse = try store.pause(third, reason: "worse", by: "admin_token", on: session)
            #expect(worse.pauses.map(\.pausedBy) == ["admin_token"] && worse.isChanged)

            _ = try store.pause(fourth, reason: "r", by: "x", on: session)
            _ = try other.pause(PauseScope(), reason: "everything", by: "x", on: session)
            #expect(try store.all(on: session).map(\.scope) == [third, fourth])
            #expect(try store.resume(third, on: session) == .done(try store.all(on: session), isChanged: true))
            #expect(try store.all(on: session).map(\.scope) == [fourth])
            #expect(try store.resume(third, on: session) == .done(try store.all(on: session), isChanged: false))

            // A part of what is paused cannot be resumed; the whole takes its parts along.
            let all = try store.pause(messages, reason: "all", by: "x", on: session).pauses
            #expect(all.map(\.scope) == [messages, fourth])
            #expect(try store.resume(fourth, on: session) == .coveredBy([all[0]]))
            #expect(try store.all(on: session) == all)
            #expect(try store.resume(messages, on: session) == .done([], isChanged: true))
            _ = try store.pause(PauseScope(topic: "elsewhere"), reason: "r", by: "x", on: session)
            _ = try store.pause(fourth, reason: "r", by: "x", on: session)
            #expect(try store.resume(PauseScope(), on: session) == .done([], isChanged: true))
            #expect(try other.all(on: session).map(\.scope) == [PauseScope()])
        }
        await connection.close()
    }
}
