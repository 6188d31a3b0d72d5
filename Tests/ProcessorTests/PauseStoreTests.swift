// Proves that pauses are kept per group, may be asked for twice, and reach every worker: on a real PostgreSQL.

import Pipeline
import Postgres
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct PauseStoreTests {
    private let messages = PauseScope(topic: "messages")
    private func partition(_ number: Int32) -> PauseScope { PauseScope(topic: "messages", partition: number) }

    @Test func keepsPausesByGroup() async throws {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(uri: try await TestPostgres.database(migrated: true)))
        let (store, other) = (PauseStore(group: "g"), PauseStore(group: "h"))
        let (messages, third, fourth) = (messages, partition(3), partition(4))
        try await connection.perform { session in
            #expect(try store.all(on: session) == [])
            let first = try store.pause(third, reason: "bad 'rows' \u{1F41F}", by: "loopback", on: session)
            #expect(first.map(\.scope) == [third])
            #expect(first[0].reason == "bad 'rows' \u{1F41F}")
            #expect(first[0].pausedBy == "loopback")
            #expect(first[0].pausedAt.hasPrefix("20") && first[0].pausedAt.hasSuffix("Z"))
            // Again, by somebody else: it has been paused since the first time.
            #expect(try store.pause(third, reason: "bad 'rows' \u{1F41F}", by: "admin_token", on: session) == first)
            #expect(try store.pause(third, reason: "worse", by: "admin_token", on: session).map(\.pausedBy) == ["admin_token"])

            _ = try store.pause(fourth, reason: "r", by: "x", on: session)
            _ = try other.pause(PauseScope(), reason: "everything", by: "x", on: session)
            #expect(try store.all(on: session).map(\.scope) == [third, fourth])
            #expect(try store.resume(third, on: session) == .done(try store.all(on: session)))
            #expect(try store.all(on: session).map(\.scope) == [fourth])
            #expect(try store.resume(third, on: session) == .done(try store.all(on: session)))

            // A part of what is paused cannot be resumed; the whole takes its parts along.
            let all = try store.pause(messages, reason: "all", by: "x", on: session)
            #expect(all.map(\.scope) == [messages, fourth])
            #expect(try store.resume(fourth, on: session) == .held(by: [all[0]]))
            #expect(try store.all(on: session) == all)
            #expect(try store.resume(messages, on: session) == .done([]))
            _ = try store.pause(PauseScope(topic: "elsewhere"), reason: "r", by: "x", on: session)
            _ = try store.pause(fourth, reason: "r", by: "x", on: session)
            #expect(try store.resume(PauseScope(), on: session) == .done([]))
            #expect(try other.all(on: session).map(\.scope) == [PauseScope()])
        }
        await connection.close()
    }

    private func sync(_ uri: String, interval: Duration = .milliseconds(100)) -> (OperatorPauseSync, Shared<[OperatorPauses]>) {
        var settings = PostgresSettings()
        settings.uri = uri
        let sync = OperatorPauseSync(
            store: PauseStore(group: "g"), configuration: settings.operatorConnection, interval: interval, logger: .silent)
        let told = Shared<[OperatorPauses]>([])
        sync.attach { pauses in told.withLock { $0.append(pauses) } }
        return (sync, told)
    }

    @Test func whatOneWorkerPausesReachesTheOther() async throws {
        let uri = try await TestPostgres.database(migrated: true)
        let (here, toldHere) = sync(uri)
        let (there, toldThere) = sync(uri)
        let reading = Task { try await there.run() }
        _ = try await here.pause(messages, reason: "r", by: "x")
        let expected = OperatorPauses([OperatorPause(topic: "messages", reason: "r")])
        #expect(toldHere.current == [expected], "it counts here before the answer")
        #expect(await eventually { toldThere.current.last == expected })
        #expect(try await here.resume(messages) == .done([]))
        #expect(await eventually { toldThere.current.last == OperatorPauses.none })
        #expect(toldHere.current == [expected, .none])
        reading.cancel()
        _ = await reading.result
        await here.close()
        await there.close()
    }

    @Test func aLostConnectionIsMadeAnewAndWhatIsKnownStands() async throws {
        let uri = try await TestPostgres.database(migrated: true)
        let (sync, told) = sync(uri)
        _ = try await sync.pause(messages, reason: "r", by: "x")
        let admin = try await PostgresConnection.connect(PostgresConfiguration(uri: uri))
        for _ in 0..<3 {
            try await admin.perform { session in
                try session.execute(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'sluice operator' AND datname = current_database()
                    """)
            }
            #expect(try await sync.refresh().map(\.scope) == [messages])
        }
        #expect(told.current.count == 1, "nothing has changed")
        try await admin.perform { try $0.execute("ALTER TABLE sluice_pauses RENAME TO away") }
        await #expect(throws: PostgresError.self) { try await sync.refresh() }
        #expect(told.current.count == 1, "what cannot be read changes nothing")
        try await admin.perform { try $0.execute("ALTER TABLE away RENAME TO sluice_pauses") }
        #expect(try await sync.refresh().map(\.scope) == [messages])
        await admin.close()
        await sync.close()
        await #expect(throws: CancellationError.self) { try await sync.refresh() }
    }
}
