// What the self-check and the fuzz targets share: tables to try, and round trips in which every implementation has to
// do the same. A broken promise ends the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../decoder.hpp"
#include "../dispatch.hpp"
#include "../encoder.hpp"

namespace harness {

using intaglio::Kernels;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;

inline void require(bool holds, const std::string& promise) {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", promise.c_str());
    std::abort();
}

// A copy that ends where its memory ends, so that a sanitizer sees the first byte read beyond it.
template <class T>
std::vector<T> exact(std::span<const T> values) {
    return std::vector<T>(values.begin(), values.end());
}

// The arrays that a set of tables is made of.
struct Arrays {
    std::vector<std::int32_t> first;
    std::vector<std::int32_t> sizes;
    std::vector<std::uint16_t> frequencies;

    void add(std::int64_t symbol, std::span<const std::uint16_t> cells) {
        first.push_back(static_cast<std::int32_t>(symbol));
        sizes.push_back(static_cast<std::int32_t>(cells.size()));
        frequencies.insert(frequencies.end(), cells.begin(), cells.end());
    }

    // A peak in the middle: each next cell outwards takes 1 / `share` of what is left; the escape keeps one slot.
    void add_peak(std::int64_t symbol, std::size_t regular, std::uint32_t share) {
        std::vector<std::uint16_t> cells(regular + 1, 1);
        std::uint32_t left = intaglio::kTotal - static_cast<std::uint32_t>(cells.size());
        for (std::size_t step = 0; step < regular; ++step) {
            const std::size_t away = (step + 1) / 2;
            const std::uint32_t part = left / share;
            cells[step % 2 == 0 ? regular / 2 - away : regular / 2 + away] += static_cast<std::uint16_t>(part);
            left -= part;
        }
        cells[regular / 2] += static_cast<std::uint16_t>(left);
        add(symbol, cells);
    }

    intaglio::Tables tables() const {
        return intaglio::Tables(exact<std::int32_t>(first), exact<std::int32_t>(sizes),
                                exact<std::uint16_t>(frequencies));
    }
};

inline Arrays peaks() {
    Arrays arrays;
    for (std::size_t regular = 1; regular < 200; regular += 2 + regular / 2)
        arrays.add_peak(-static_cast<std::int64_t>(regular / 2), regular, 2 + static_cast<std::uint32_t>(regular) / 2);
    return arrays;
}

inline Arrays lopsided() {
    Arrays arrays;
    const std::uint16_t rare[] = {1, 32767};
    const std::uint16_t sure[] = {32767, 1};
    const std::uint16_t edges[] = {1, 1, 16383, 16382, 1};
    for (const std::int64_t first : {-1, 1, -32767, 32765}) {
        arrays.add(first, rare);
        arrays.add(first, sure);
        arrays.add(first, edges);
    }
    return arrays;
}

inline Arrays certain() {
    Arrays arrays;
    const std::uint16_t sure[] = {32767, 1};
    const std::uint16_t nearly[] = {4, 32760, 4};
    const std::uint16_t not_quite[] = {4, 32759, 5};
    const std::uint16_t even[] = {8192, 8192, 8192, 8192};
    arrays.add(0, sure);
    arrays.add(-1, nearly);
    arrays.add(-1, not_quite);
    arrays.add(-1, even);
    return arrays;
}

inline Arrays wide() {
    Arrays arrays;
    arrays.add(-16384, std::vector<std::uint16_t>(32768, 1));
    arrays.add(-30000, std::vector<std::uint16_t>(16384, 2));
    arrays.add_peak(-700, 1401, 40);
    return arrays;
}

inline Arrays shifted() {
    constexpr std::int64_t lowest = std::numeric_limits<std::int32_t>::min();
    constexpr std::int64_t highest = std::numeric_limits<std::int32_t>::max();
    Arrays arrays;
    const std::uint16_t even[] = {8192, 8192, 8192, 8192};
    for (const std::int64_t first : {lowest, highest - 2, std::int64_t{-32768}, std::int64_t{32765}, std::int64_t{-1}})
        arrays.add(first, even);
    arrays.add(highest - 32766, std::vector<std::uint16_t>(32768, 1));
    const std::uint16_t sure[] = {32764, 4};
    arrays.add(0, sure);
    return arrays;
}

// As many tables as an index can name, every third one certain.
inline Arrays full() {
    Arrays arrays;
    const std::uint16_t sure[] = {32767, 1};
    for (std::size_t row = 0; row < intaglio::kMaxTables; ++row) {
        if (row % 3 == 0) {
            arrays.add(0, sure);
        } else {
            arrays.add_peak(static_cast<std::int64_t>(row) - 128, 1 + row % 90, 2 + row % 7);
        }
    }
    return arrays;
}

inline const std::vector<intaglio::Tables>& table_sets() {
    static const std::vector<intaglio::Tables> sets = [] {
        std::vector<intaglio::Tables> made;
        for (const Arrays& arrays : {peaks(), lopsided(), certain(), wide(), shifted(), full()})
            made.push_back(arrays.tables());
        return made;
    }();
    return sets;
}

// What is coded: symbols, their tables, and how many belong to each slice.
struct Work {
    Symbols symbols;
    Bytes rows;
    std::vector<std::size_t> slices;
};

template <class Symbol>
Bytes encode(const Work& work, const intaglio::Tables& tables, const Kernels& kernels, bool borrow) {
    intaglio::Encoder encoder(tables, kernels);
    const std::vector<Symbol> symbols(work.symbols.begin(), work.symbols.end());
    std::vector<std::pair<std::vector<Symbol>, Bytes>> kept;
    std::size_t at = 0;
    for (const std::size_t size : work.slices) {
        kept.emplace_back(exact(std::span(symbols).subspan(at, size)), exact(std::span(work.rows).subspan(at, size)));
        const auto& [part, rows] = kept.back();
        encoder.push(std::span<const Symbol>(part), std::span<const std::uint8_t>(rows), borrow);
        if (!borrow) kept.clear();
        at += size;
    }
    return exact(std::span<const std::uint8_t>(encoder.finish()));
}

enum class End { finished, damaged, refused };  // refused: an argument was wrong

// What came out of a stream before it ended, and how.
struct Outcome {
    Symbols symbols;
    std::vector<End> ends;  // of each call

    bool operator==(const Outcome&) const = default;
    bool whole() const { return ends.back() == End::finished; }
};

template <class Call>
End end_of(const Call& call) {
    try {
        call();
        return End::finished;
    } catch (const intaglio::FormatError&) {
        return End::damaged;
    } catch (const intaglio::ArgumentError&) {
        return End::refused;
    }
}

inline void pull_all(intaglio::Decoder& decoder, const Work& work, Outcome& outcome) {
    std::size_t at = 0;
    for (const std::size_t size : work.slices) {
        const Bytes rows = exact(std::span(work.rows).subspan(at, size));
        Symbols symbols(size);
        outcome.ends.push_back(end_of([&] { decoder.pull(rows, symbols); }));
        if (outcome.ends.back() == End::damaged) {
            require(end_of([&] { decoder.pull({}, {}); }) == End::damaged, "a decoder that failed stays failed");
            require(end_of([&] { decoder.finish(); }) == End::damaged, "a decoder that failed does not finish");
            return;
        }
        if (outcome.ends.back() == End::finished)
            outcome.symbols.insert(outcome.symbols.end(), symbols.begin(), symbols.end());
        at += size;
    }
    outcome.ends.push_back(end_of([&] { decoder.finish(); }));
    const End after = outcome.ends.back() == End::finished ? End::refused : End::damaged;
    require(end_of([&] { decoder.pull({}, {}); }) == after, "a decoder is not used after its end");
}

// Only rows and slices of `work` are looked at.
inline Outcome decode_with(const Bytes& data, const Work& work, const intaglio::Tables& tables,
                           const Kernels& kernels) {
    const Bytes bytes = exact(std::span(data));
    Outcome outcome;
    const End end = end_of([&] {
        intaglio::Decoder decoder(bytes, tables, kernels);
        pull_all(decoder, work, outcome);
    });
    if (outcome.ends.empty()) outcome.ends.push_back(end);
    return outcome;
}

inline Outcome decode(const Bytes& data, const Work& work, const intaglio::Tables& tables) {
    const auto kernels = intaglio::available_kernels();
    Outcome plain = decode_with(data, work, tables, *kernels.back());
    for (const Kernels* each : kernels.first(kernels.size() - 1))
        require(decode_with(data, work, tables, *each) == plain, std::string(each->name) + " decodes like portable");
    return plain;
}

inline Bytes encode_all(const Work& work, const intaglio::Tables& tables) {
    const auto kernels = intaglio::available_kernels();
    const Bytes plain = encode<std::int32_t>(work, tables, *kernels.back(), true);
    bool narrow = true;
    for (const std::int32_t symbol : work.symbols) narrow &= symbol == static_cast<std::int16_t>(symbol);
    for (const Kernels* each : kernels) {
        const std::string name = each->name;
        require(encode<std::int32_t>(work, tables, *each, false) == plain, name + " encodes int32 like portable");
        if (narrow)
            require(encode<std::int16_t>(work, tables, *each, false) == plain, name + " encodes int16 like portable");
    }
    return plain;
}

// Codes the symbols with every implementation and reads them back; returns the stream.
inline Bytes round_trip(const Work& work, const intaglio::Tables& tables) {
    Bytes data = encode_all(work, tables);
    const Outcome outcome = decode(data, work, tables);
    require(outcome.whole() && outcome.symbols == work.symbols, "what was coded comes back");
    return data;
}

// 64 tables, every ninth one certain, their twins, which are not, and a plain one.
inline const intaglio::Tables& twins() {
    static const intaglio::Tables tables = [] {
        Arrays arrays;
        const std::uint16_t sure[] = {32767, 1};
        for (std::size_t row = 0; row < 2 * intaglio::kTwin; ++row) {
            const std::size_t reach = 1 + row % intaglio::kTwin / 3;
            if (row % 9 == 0 && row < intaglio::kTwin) {
                arrays.add(0, sure);
            } else {
                arrays.add_peak(-static_cast<std::int64_t>(reach), 2 * reach + 1, 3);
            }
        }
        arrays.add_peak(-5, 11, 3);
        return arrays.tables();
    }();
    return tables;
}

inline constexpr std::size_t kPlain = 10;  // symbols before a slice that follows a trellis

struct Followed {
    Symbols steps;
    End end = End::finished;

    bool operator==(const Followed&) const = default;
};

// What a slice of `rows` of `twins` is followed to, after a plain one.
inline Followed follow(const Bytes& data, const Kernels& kernels, const Bytes& rows) {
    const Bytes bytes = exact(std::span(data));
    const Bytes places = exact(std::span(rows));
    Followed found;
    found.end = end_of([&] {
        intaglio::Decoder decoder(bytes, twins(), kernels);
        Symbols plain(kPlain);
        decoder.pull(Bytes(kPlain, 2 * intaglio::kTwin), plain);
        Symbols steps(places.size());
        decoder.follow(places, steps);
        found.steps = steps;
        decoder.finish();
    });
    return found;
}

}  // namespace harness
