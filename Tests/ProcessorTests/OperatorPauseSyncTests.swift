// Proves that pauses reach every worker of the group, and survive a lost connection: on a real PostgreSQL.

import Pipeline
import Postgres
import SluiceTables
import Telemetry
import TestSupport
import Testing

@testable import sluice

@Suite(.enabled("needs PostgreSQL") { await TestPostgres.isAvailable }, .timeLimit(.minutes(2)))
struct OperatorPauseSyncTests {
    private let messages = PauseScope(topic: "messages")

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
        #expect(try await here.resume(messages) == .done([], isChanged: true))
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
