// The coder's promises on its own, for machines and sanitizers without Python: round trips, every prefix and every bit
// flip of small streams, wrong calls, indexes that change while they are coded; with every implementation that this
// machine can run. All streams and all that comes of damaged ones have the same digest on every machine.
#include <algorithm>
#include <cstdio>

#include "harness.hpp"

namespace {

using harness::Bytes;
using harness::Kernels;
using harness::Symbols;
using harness::Work;

// Sebastiano Vigna's splitmix64.
struct Random {
    std::uint64_t state;

    std::uint64_t next() {
        state += 0x9e3779b97f4a7c15;
        std::uint64_t mixed = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        return mixed ^ mixed >> 31;
    }

    std::size_t below(std::size_t end) { return static_cast<std::size_t>(next() % end); }
};

struct Digest {
    std::uint64_t value = 0xcbf29ce484222325;  // FNV-1a

    void add(std::uint64_t number) {
        for (int byte = 0; byte < 8; ++byte) value = (value ^ (number >> 8 * byte & 0xff)) * 0x100000001b3;
    }
};

// Changes only when the streams, the errors or the checks are meant to change.
constexpr std::uint64_t kDigest = 0xd74b1bb6ba027912;

constexpr std::size_t kSizes[] = {0,  1,  2,  3,  7,  8,   15,   16,   17,   31,
                                  33, 63, 64, 65, 500, 3000, 8191, 8193, 20000};

enum Kind { kInside, kMostlyZero, kEdges, kFar, kAnything, kKinds };

std::int32_t draw(Random& random, Kind kind, const intaglio::Tables& tables, std::size_t row) {
    const std::int64_t first = tables.first(row);
    const std::int64_t regular = tables.regular(row);
    const std::int64_t inside = first + static_cast<std::int64_t>(random.below(static_cast<std::size_t>(regular)));
    std::int64_t symbol = inside;
    switch (kind) {
        case kMostlyZero: symbol = random.below(50) ? 0 : inside; break;
        case kEdges:
            symbol = (random.below(2) ? first : first + regular) - static_cast<std::int64_t>(random.below(3)) + 1;
            break;
        case kFar: symbol = random.below(2) ? INT32_MIN : INT32_MAX; break;
        case kAnything: symbol = static_cast<std::int32_t>(random.next() >> (32 + random.below(32))); break;
        default: break;
    }
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(symbol, INT32_MIN, INT32_MAX));
}

Work make_work(Random& random, Kind kind, const intaglio::Tables& tables, std::size_t size) {
    Work work;
    for (std::size_t i = 0; i < size; ++i) {
        const std::size_t row = random.below(tables.size());
        work.rows.push_back(static_cast<std::uint8_t>(row));
        work.symbols.push_back(draw(random, kind, tables, row));
    }
    for (std::size_t left = size; left > 0;) {
        work.slices.push_back(random.below(3) ? left : random.below(left + 1));
        left -= work.slices.back();
    }
    return work;
}

void try_damaged(const Bytes& data, const Work& work, const intaglio::Tables& tables, Digest& digest) {
    const harness::Outcome outcome = harness::decode(data, work, tables);
    for (const harness::End end : outcome.ends) digest.add(static_cast<std::uint64_t>(end));
    for (const std::int32_t symbol : outcome.symbols) digest.add(static_cast<std::uint32_t>(symbol));
}

void check_damage(const Bytes& data, const Work& work, const intaglio::Tables& tables, Digest& digest) {
    for (std::size_t size = 0; size < data.size(); ++size)
        try_damaged(Bytes(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(size)), work, tables, digest);
    for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
        Bytes flipped = data;
        flipped[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        try_damaged(flipped, work, tables, digest);
    }
}

// Any bytes behind every first byte, enough of them for all lanes that it could promise.
void check_kinds_of_stream() {
    Random random{7};
    for (const intaglio::Tables& tables : harness::table_sets()) {
        const Work work = make_work(random, kInside, tables, 300);
        for (std::size_t kind = 0; kind < 256; ++kind) {
            Bytes bytes(700);
            for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
            bytes[0] = static_cast<std::uint8_t>(kind);
            const auto begin = [&] { intaglio::Decoder(bytes, tables, intaglio::kPortable); };
            const bool known = kind < 16 && (kind & 7) < 7;
            harness::require((harness::end_of(begin) == harness::End::finished) == known, "first bytes are checked");
            harness::decode(bytes, work, tables);
        }
    }
}

// The numbers beside the words: all lengths, and runs of zeros longer than any number has.
void check_bits() {
    for (int exponent = 0; exponent < 63; ++exponent) {
        for (const std::uint64_t number : {std::uint64_t{1} << exponent, (std::uint64_t{2} << exponent) - 1}) {
            intaglio::BitWriter writer;
            writer.put_count(number);
            writer.put_gap(number);
            if (exponent < 32) writer.put_gamma(number);
            const Bytes bytes(writer.bytes().rbegin(), writer.bytes().rend());
            intaglio::BitReader reader(bytes);
            harness::require(reader.take_count() == number, "a count comes back");
            harness::require(reader.take_gap() == number, "a gap comes back");
            if (exponent < 32) harness::require(reader.take_gamma() == number, "a gamma number comes back");
            harness::require(reader.end() == bytes.data() && reader.rest_is_zero(), "bits are read to their end");
        }
    }
    for (int zeros = 0; zeros < 100; ++zeros) {
        intaglio::BitWriter writer;
        for (int i = 0; i < zeros; ++i) writer.put(0, 1);
        for (int i = 0; i < 2; ++i) writer.put(~std::uint64_t{0}, 64);
        const Bytes bytes(writer.bytes().rbegin(), writer.bytes().rend());
        const auto gamma = harness::end_of([&] { intaglio::BitReader(bytes).take_gamma(); });
        harness::require((gamma == harness::End::finished) == (zeros <= 31), "only 32 bits of gamma are taken");
        const auto gap = harness::end_of([&] { intaglio::BitReader(bytes).take_gap(); });
        harness::require((gap == harness::End::finished) == (zeros <= 52), "only 64 bits of a gap are taken");
    }
}

// The coder's division against the processor's, where a quotient changes.
void check_division() {
    Random random{3};
    for (std::uint32_t frequency = 1; frequency < intaglio::kTotal; ++frequency) {
        const auto reciprocal = static_cast<float>((1.0 - 0x1p-21) / frequency);
        const intaglio::Cell cell{0, static_cast<std::uint16_t>(frequency), reciprocal};
        for (int i = 0; i < 40; ++i) {
            const std::size_t most = (1u << 17) - 1;
            const std::size_t chosen = i < 20 ? most - static_cast<unsigned>(i) : random.below(most + 1);
            const auto quotient = static_cast<std::uint32_t>(chosen);
            for (const std::uint32_t rest : {0u, frequency - 1}) {
                const std::uint32_t state = quotient * frequency + rest;
                const bool exact = intaglio::put(cell, state) == quotient * intaglio::kTotal + rest;
                harness::require(exact, "the division is exact");
            }
        }
    }
}

// Every implementation follows what was coded, and ends alike where it was damaged.
void check_trellis(const Kernels& kernels) {
    const intaglio::Tables& tables = harness::twins();
    Random random{11};
    for (const std::size_t size : {1, 30, 64, 500, 9000, 30000}) {
        std::vector<float> latents(size);
        Bytes rows(size);
        for (std::size_t i = 0; i < size; ++i) {
            rows[i] = static_cast<std::uint8_t>(random.below(intaglio::kTwin));
            latents[i] = static_cast<float>(static_cast<int>(random.below(4001)) - 2000) / 80.0f;
            if (random.below(100) == 0) latents[i] *= 1000.0f;
        }
        Symbols symbols(size);
        Symbols steps(size);
        Bytes used(size);
        intaglio::Trellis(tables, 4.0f).quantise(latents, rows, {symbols, used, steps});
        intaglio::Encoder encoder(tables, kernels);
        const Symbols plain(harness::kPlain, 3);
        encoder.push(std::span<const std::int32_t>(plain), Bytes(harness::kPlain, 2 * intaglio::kTwin));
        encoder.push(std::span<const std::int32_t>(symbols), used);
        Bytes data = encoder.finish();
        harness::require(harness::follow(data, kernels, rows).steps == steps, "steps come back");
        for (int flip = 0; flip < 40; ++flip) {
            data[random.below(data.size())] ^= static_cast<std::uint8_t>(1 << random.below(8));
            const bool same = harness::follow(data, kernels, rows) == harness::follow(data, intaglio::kPortable, rows);
            harness::require(same, "a damaged trellis ends alike");
        }
    }
}

// Three tables that code something, and as many symbols as two blocks have.
struct Calls {
    intaglio::Tables tables = [] {
        harness::Arrays arrays;
        for (const std::size_t regular : {3, 9, 40}) arrays.add_peak(-1, regular, 3);
        return arrays.tables();
    }();
    Work work = [this] {
        Random random{5};
        Work made = make_work(random, kInside, tables, intaglio::kBlock + 50);
        made.slices = {made.rows.size()};
        return made;
    }();
    Bytes data = harness::round_trip(work, tables);

    std::span<const std::int32_t> symbols() const { return work.symbols; }
};

template <class Call>
void require_refused(const Call& call, const std::string& what) {
    harness::require(harness::end_of(call) == harness::End::refused, what);
}

// An index too large by one, wherever it is, and arrays that differ in length: nothing happens but the error.
void check_wrong_calls(const Kernels& kernels) {
    const Calls calls;
    intaglio::Encoder encoder(calls.tables, kernels);
    intaglio::Decoder decoder(calls.data, calls.tables, kernels);
    Bytes rows = calls.work.rows;
    Symbols symbols(rows.size());
    for (const std::size_t place : {std::size_t{0}, std::size_t{63}, intaglio::kBlock, rows.size() - 1}) {
        rows[place] = static_cast<std::uint8_t>(calls.tables.size());
        for (const bool borrow : {false, true})
            require_refused([&] { encoder.push(calls.symbols(), rows, borrow); }, "push refuses a wrong index");
        require_refused([&] { decoder.pull(rows, symbols); }, "pull refuses a wrong index");
        rows[place] = calls.work.rows[place];
    }
    require_refused([&] { encoder.push(calls.symbols().subspan(1), rows); }, "push refuses arrays of two lengths");
    require_refused([&] { decoder.pull(rows, std::span(symbols).subspan(1)); }, "pull refuses arrays of two lengths");
    encoder.push(calls.symbols(), rows);
    harness::require(encoder.finish() == calls.data, "an encoder goes on after a wrong call");
    decoder.pull(rows, symbols);
    decoder.finish();
    harness::require(symbols == calls.work.symbols, "a decoder goes on after a wrong call");
}

// Arrays that are no tables; those beside them are the last that still are.
void check_wrong_tables() {
    const auto make = [](std::int64_t first, std::vector<std::uint16_t> cells, std::size_t copies = 1) {
        harness::Arrays arrays;
        for (std::size_t i = 0; i < copies; ++i) arrays.add(first, cells);
        return arrays;
    };
    const auto is_refused = [](const harness::Arrays& arrays) {
        return harness::end_of([&] { arrays.tables(); }) == harness::End::refused;
    };
    const std::vector<std::uint16_t> good{16384, 8192, 8192};
    harness::require(is_refused(make(0, {16384, 8192, 8191})), "a sum too small is refused");
    harness::require(is_refused(make(0, {16384, 8192, 8193})), "a sum too large is refused");
    harness::require(is_refused(make(0, {65535, 32767, 1, 1})), "a sum beyond 16 bits is refused");
    harness::require(is_refused(make(0, {16384, 0, 16384})), "a frequency of zero is refused");
    harness::require(is_refused(make(0, {32768})), "a table without symbols is refused");
    harness::require(is_refused(make(0, good, 0)), "no table is refused");
    harness::require(!is_refused(make(0, good, intaglio::kMaxTables)), "256 tables are accepted");
    harness::require(is_refused(make(0, good, intaglio::kMaxTables + 1)), "257 tables are refused");
    harness::require(!is_refused(make(INT32_MAX - 1, good)), "the largest symbol is accepted");
    harness::require(is_refused(make(INT32_MAX, good)), "a symbol beyond int32 is refused");
    for (const std::int32_t wrong : {INT32_MIN, -1, 0, 2, 4, 32769, INT32_MAX}) {
        harness::Arrays arrays = make(0, good, 2);
        arrays.sizes[1] = wrong;
        harness::require(is_refused(arrays), "a wrong size is refused");
    }
    harness::Arrays arrays = make(0, good, 2);
    arrays.first.pop_back();
    harness::require(is_refused(arrays), "first symbols and sizes that differ in number are refused");
}

Bytes* victim = nullptr;
const Kernels* honest = nullptr;

// What another thread could do between the check of the indexes and their use.
void spoil_and_select(const intaglio::View& view, const std::uint8_t* rows, std::size_t size, intaglio::Block& block) {
    std::ranges::fill(*victim, std::uint8_t{255});
    honest->select(view, rows, size, block);
}

void check_changing_indexes(const Kernels& kernels) {
    const Calls calls;
    Bytes rows = calls.work.rows;
    Symbols symbols(rows.size());
    intaglio::Encoder early(calls.tables, kernels);
    early.push(calls.symbols(), rows, true);
    std::ranges::fill(rows, std::uint8_t{255});
    require_refused([&] { early.finish(); }, "finish refuses borrowed indexes that have changed");

    victim = &rows;
    honest = &kernels;
    Kernels spoiling = kernels;
    spoiling.select = spoil_and_select;
    rows = calls.work.rows;
    intaglio::Encoder late(calls.tables, spoiling);
    late.push(calls.symbols(), rows, true);
    require_refused([&] { late.finish(); }, "finish refuses borrowed indexes that change meanwhile");
    rows = calls.work.rows;
    intaglio::Decoder decoder(calls.data, calls.tables, spoiling);
    require_refused([&] { decoder.pull(rows, symbols); }, "pull refuses indexes that change meanwhile");
}

}  // namespace

int main() {
    check_kinds_of_stream();
    check_wrong_tables();
    check_bits();
    check_division();
    for (const Kernels* each : intaglio::available_kernels()) {
        check_wrong_calls(*each);
        check_changing_indexes(*each);
        check_trellis(*each);
    }
    Random random{1};
    Digest digest;
    std::size_t streams = 0;
    for (const intaglio::Tables& tables : harness::table_sets()) {
        for (int number = 0; number < kKinds; ++number) {
            const auto kind = static_cast<Kind>(number);
            for (const std::size_t size : kSizes) {
                const Work work = make_work(random, kind, tables, size);
                const Bytes data = harness::round_trip(work, tables);
                for (const std::uint8_t byte : data) digest.add(byte);
                if (data.size() < 100) check_damage(data, work, tables, digest);
                ++streams;
            }
        }
    }
    std::printf("%zu streams, implementations:", streams);
    for (const Kernels* each : intaglio::available_kernels()) std::printf(" %s", each->name);
    char found[17];
    std::snprintf(found, sizeof found, "%016llx", static_cast<unsigned long long>(digest.value));
    std::printf("\ndigest %s\n", found);
    std::fflush(stdout);
    harness::require(digest.value == kDigest, "streams and errors are as ever; now their digest is the one above");
}
