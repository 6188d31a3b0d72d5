// Checks sections under free names, what is told of a change between two readings, and what of it is taken over.

import Settings
import Testing

private struct Rate: Sendable, Equatable {
    var rate = 0
    var note = "none"

    static let section = Section<Rate>(
        "rate", help: "",
        keys: [
            Key("rate", \.rate, .int(in: 0...100), help: "A second.", reload: .live),
            Key("note", \.note, .string, help: "Why.", secrecy: .secret),
        ],
        rules: [Rule("rate", "note", sentence: "must be explained") { $0.rate == 0 || !$0.note.isEmpty }])
}

private struct Inner: Sendable, Equatable {
    var low = 1
    var high = 10
    var fixed = "a"

    static let section = Section<Inner>(
        "inner", help: "",
        keys: [
            Key("low", \.low, .int(), help: "", reload: .live), Key("high", \.high, .int(), help: ""),
            Key("fixed", \.fixed, .string, help: ""),
        ], rules: [Rule("low", "high", sentence: "must be below high") { $0.low < $0.high }])
}

private struct Whole: Sendable, Equatable {
    var uri = "host=x password=one"
    var properties: [String: String] = [:]
    var inner = Inner()
    var rates: [String: Rate] = [:]

    static let schema = SettingsSchema(
        Section<Whole>(
            "", help: "",
            keys: [
                Key("uri", \.uri, .string, help: "", secrecy: .connectionString),
                Key("properties", \.properties, .map, help: "", reload: .live),
                .section(\.inner, Inner.section),
                .namedSections("rates", \.rates, each: Rate.section, fresh: Rate(), help: "", reload: .live),
            ]), defaults: Whole())

    static func read(_ yaml: String, environment: [String: String] = [:]) throws -> EffectiveSettings<Whole> {
        try schema.read(SettingsSource(file: try YAML.parse(text: yaml, file: "x.yaml"), environment: environment))
    }

    static func faults(_ yaml: String) -> [String] {
        do {
            _ = try read(yaml)
            return []
        } catch let error as SettingsFaults {
            return error.faults.map(\.description)
        } catch {
            return ["\(error)"]
        }
    }
}

@Suite struct ChangeTests {
    @Test func sectionsUnderFreeNamesAreRead() throws {
        let settings = try Whole.read("rates: {b: {rate: 3}, a.b: {rate: 4, note: x}, c: }")
        #expect(settings.value.rates == ["b": Rate(rate: 3), "a.b": Rate(rate: 4, note: "x"), "c": Rate()])
        let shown = settings.entries.first { $0.key == "rates" }
        #expect(
            shown?.text == #"{a.b: {rate: 4, note: "***"}, b: {rate: 3, note: "***"}, c: {rate: 0, note: "***"}}"#)
        #expect(settings.entries.count { $0.key.hasPrefix("rates") } == 1, "the items are shown with the whole")
        let other = try Whole.read("", environment: ["SLUICE_RATES": "{a: {rate: 5}}"])
        #expect(other.value.rates == ["a": Rate(rate: 5)])
        #expect(try Whole.read("rates: {}").value.rates == [:])
        #expect(Whole.schema.keys.map(\.path).suffix(3) == ["rates", "rates.NAME.rate", "rates.NAME.note"])
        #expect(Whole.schema.markdown.contains("| `rates.NAME.rate` | A second. | integer | between 0 and 100 | `0` | live |"))
    }

    @Test func whatIsWrongInThemIsSaidWithItsPlace() {
        #expect(
            Whole.faults("rates:\n  a: {rate: 300}\n  b: {rat: 1}\n  c: 5\n  d: {rate: 1, note: \"\"}")
                == [
                    "x.yaml:2: rates.a.rate: must be between 0 and 100, is 300",
                    "x.yaml:3: rates.b.rat: is not a known key; did you mean rates.b.rate?",
                    "x.yaml:4: rates.c: must be a mapping with keys such as rate or note, is a value",
                    "x.yaml:5: rates.d.rate: must be explained; rates.d.rate is 1, rates.d.note is \"\"",
                ])
        #expect(Whole.faults("rates: [a]") == ["x.yaml:1: rates: must be a mapping of names to mappings, is a list"])
    }

    @Test func aChangeIsToldByKeyAndNeverShowsASecret() throws {
        let before = try Whole.read("properties: {sasl.password: one, b: 1}\ninner: {low: 2}\nrates: {a: {rate: 1, note: x}}")
        let after = try Whole.read(
            "uri: host=x password=two\nproperties: {sasl.password: two, b: 1}\ninner: {low: 3}\nrates: {a: {rate: 1, note: y}}")
        let changes = before.changes(to: after)
        #expect(changes.map(\.key) == ["uri", "properties", "inner.low", "rates"])
        #expect(changes.map(\.isSecret) == [true, true, false, true])
        #expect(changes.map(\.reload) == [.restart, .live, .live, .live])
        #expect(changes[2].before == "2")
        #expect(changes[2].after == "3")
        for change in changes { #expect(!"\(change)".contains("two") && !"\(change)".contains("one")) }
        #expect(after.changes(to: after) == [])
        // Where a value comes from does not matter.
        #expect(try Whole.read("inner: {low: 2}").changes(to: Whole.read("", environment: ["SLUICE_INNER_LOW": "2"])) == [])
    }

    @Test func onlyWhatIsLiveIsTakenOver() throws {
        let running = try Whole.read("inner: {low: 2, fixed: a}").value
        let later = try Whole.read("uri: host=y\nproperties: {b: 2}\ninner: {low: 5, high: 20, fixed: b}\nrates: {a: {rate: 1}}")
        let merged = try Whole.schema.adopting(later.value, into: running)
        var expected = running
        expected.properties = ["b": "2"]
        expected.inner.low = 5
        expected.rates = ["a": Rate(rate: 1)]
        #expect(merged == expected)
    }

    @Test func whatBreaksARuleTogetherWithTheRestIsRefused() throws {
        let running = Whole()
        let later = try Whole.read("inner: {low: 15, high: 20}").value
        do {
            _ = try Whole.schema.adopting(later, into: running)
            Issue.record("low is above the high that is in force")
        } catch {
            #expect(
                error.description
                    == "inner.low, inner.high: must be below high; with the values of the keys that need a restart this rule does not hold"
            )
        }
    }
}
