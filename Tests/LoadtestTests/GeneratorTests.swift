// Proves that events are a function of seed and position, in the proportions that were asked for.

import Foundation
import Records
import Testing

@testable import sluice_loadtest

@Suite struct GeneratorTests {
    private func text(_ plan: EventPlan, _ index: UInt64) -> String {
        var writer = EventWriter(plan)
        return String(decoding: writer.json(plan.event(index)), as: UTF8.self)
    }

    @Test func theSameSeedMakesTheSameEventsInAnyOrder() {
        let plan = EventPlan(seed: 7, keys: 1000, skew: 1.1, badFraction: 0.1)
        let again = EventPlan(seed: 7, keys: 1000, skew: 1.1, badFraction: 0.1)
        let other = EventPlan(seed: 8, keys: 1000, skew: 1.1, badFraction: 0.1)
        let forwards = (0..<500).map { text(plan, $0) }
        let backwards = (0..<500).reversed().map { text(again, $0) }
        #expect(forwards == backwards.reversed())
        #expect(forwards != (0..<500).map { text(other, $0) })
    }

    @Test func operationsComeInTheProportionsOfTheMix() {
        let mix = Mix(create: 50, update: 25, delete: 5, upsert: 20)
        let plan = EventPlan(seed: 3, keys: 100, mix: mix, badFraction: 0.02)
        var counts: [Records.Operation: Int] = [:]
        var bad = 0
        let total = 200_000
        for index in 0..<UInt64(total) {
            let event = plan.event(index)
            counts[event.operation, default: 0] += 1
            if event.flaw != nil { bad += 1 }
        }
        // Five standard deviations of a binomial count.
        func isNear(_ count: Int, _ share: Double) -> Bool {
            abs(Double(count) - share * Double(total)) < 5 * (share * (1 - share) * Double(total)).squareRoot()
        }
        #expect(isNear(counts[.create] ?? 0, 0.50))
        #expect(isNear(counts[.update] ?? 0, 0.25))
        #expect(isNear(counts[.delete] ?? 0, 0.05))
        #expect(isNear(counts[.upsert] ?? 0, 0.20))
        #expect(isNear(bad, 0.02))
    }

    @Test func anOperationWithoutWeightNeverComes() {
        let plan = EventPlan(seed: 1, keys: 10, mix: Mix(create: 0, update: 1, delete: 0, upsert: 0))
        #expect((0..<10_000).allSatisfy { plan.event($0).operation == .update })
        // The very end of the unit interval belongs to the last operation that has a weight.
        #expect(Mix(create: 1, update: 0, delete: 0, upsert: 0).operation(1) == .create)
    }

    @Test func everyKeyLiesInTheRangeAndEachCanCome() {
        let plan = EventPlan(seed: 2, keys: 97, firstID: 5000, skew: 0.5)
        var seen: Set<Int32> = []
        for index in 0..<50_000 { seen.insert(plan.id(plan.event(UInt64(index)).slot)) }
        #expect(seen == Set(5000..<5097))
        #expect(plan.slot(id: 5000) == 0 && plan.slot(id: 5096) == 96)
        #expect(plan.slot(id: 4999) == nil && plan.slot(id: 5097) == nil)
    }

    @Test(arguments: [0, 1, 12, 13, 100, 5000])
    func aGoodEventParsesToWhatTheTableMustHold(payloadBytes: Int) throws {
        let plan = EventPlan(
            seed: 11, keys: 50, firstID: 2_147_483_000, mix: Mix(create: 1, update: 1, delete: 1, upsert: 1),
            payloadBytes: payloadBytes)
        var writer = EventWriter(plan)
        for index in 0..<300 {
            let event = plan.event(UInt64(index))
            let json = Data(writer.json(event))
            let object = try #require(JSONSerialization.jsonObject(with: json) as? [String: Any])
            #expect(object["message_id"] as? Int == Int(plan.id(event.slot)))
            let action: [Records.Operation: String] = [
                .create: "Create", .update: "Update", .upsert: "Upsert", .delete: "Delete",
            ]
            #expect(object["action"] as? String == action[event.operation])
            #expect(String(decoding: writer.key(event), as: UTF8.self) == "\(plan.id(event.slot))")
            let data = object["data"] as? [String: String]
            #expect((data == nil) == (event.operation == .delete))
            guard let data else { continue }
            #expect(data["name"] == String(decoding: writer.name(slot: event.slot, index: event.index), as: UTF8.self))
            let message = Data(writer.message(index: event.index))
            #expect(message.count == payloadBytes)
            #expect(data["message"].map { Data($0.utf8) } == message)
        }
    }

    @Test func someMessagesHoldCharactersThatAreEscaped() {
        let plan = EventPlan(seed: 4, keys: 10)
        let special = (0..<1000).filter { text(plan, $0).contains("\\ud83d") }.count
        #expect((20...150).contains(special))
    }

    @Test func everyFlawComesAndEachIsOne() {
        let plan = EventPlan(seed: 5, keys: 100, badFraction: 1)
        var seen: Set<Flaw> = []
        for index in 0..<500 {
            let event = plan.event(UInt64(index))
            guard let flaw = event.flaw else {
                Issue.record("event \(index) should be bad")
                continue
            }
            seen.insert(flaw)
            let json = text(plan, UInt64(index))
            let object = (try? JSONSerialization.jsonObject(with: Data(json.utf8))) as? [String: Any]
            switch flaw {
            case .truncated, .brokenElsewhere: #expect(object == nil)
            case .wrongType: #expect(object?["message_id"] is String)
            case .outOfRange: #expect((object?["message_id"] as? Int ?? 0) > Int(Int32.max))
            case .unknownAction: #expect(object?["action"] as? String == "Replace")
            case .missingField: #expect(object != nil && (object?["data"] as? [String: Any])?["name"] == nil)
            case .nulCharacter: #expect(json.contains("\\u0000"))
            }
        }
        #expect(seen == Set(Flaw.allCases))
    }
}
