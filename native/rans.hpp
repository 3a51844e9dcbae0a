// Indexed rANS: every symbol names, by an 8-bit index, the frequency table it is coded with.
//
// Reference: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540 (range variant, rANS).
//
// Stream, little-endian:
//   u8        lanes: 1, 2 or 4
//   u32       one state per lane, each in [2^16, 2^32): where the decoder starts
//   u16 ...   words, in the order in which the decoder takes them
// Symbol number i of the stream (counted over all slices) belongs to lane i % lanes. rANS is a stack: the encoder
// walks the symbols backwards, so a decoder that walks forwards ends with every state at 2^16 and no word left. Both
// are checked. With `start` the sum of the frequencies before the symbol's cell, one decoding step is
//   state = frequency * (state / 2^15) + state % 2^15 - start;  if state < 2^16: state = state * 2^16 + next word
//
// The last cell of each table is its escape. After it the same lane holds raw bits that name a symbol outside the
// table: 1 bit "above"; then n = distance beyond the nearest edge, counted from 1, as an Elias gamma code, that is
// e = floor(log2 n) zeros and a one, bit by bit, then the bits of n from e - 1 down to 16 as one number, if e > 16, and
// the remaining low bits as another. Taking a number of b bits is: value = state % 2^b, state = state / 2^b, and a
// word as above. The encoder's inverse steps follow from these.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace intaglio {

inline constexpr int kPrecision = 15;                          // frequencies of a table sum to 2^15
inline constexpr std::uint32_t kTotal = 1u << kPrecision;
inline constexpr std::uint32_t kLower = 1u << 16;              // states live in [kLower, 2^32)
inline constexpr std::size_t kMaxTables = 256;                 // what an 8-bit index can name
inline constexpr std::size_t kMaxLanes = 4;  // more are no faster in scalar code
inline constexpr std::uint64_t kBitsPerLane = 32768;           // a lane costs 24 bits net: 0.07 % of this
inline constexpr int kBucketBits = 8;                          // the look-up narrows a slot to 1/256 of a table
inline constexpr int kBucketShift = kPrecision - kBucketBits;
inline constexpr int kMaxExponent = 31;                        // no distance between two int32 needs more

// Coded data cannot be decoded.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A call is wrong.
struct ArgumentError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

struct Cell {
    std::uint16_t start;
    std::uint16_t frequency;
};

struct Table {
    std::int32_t first;     // symbol of the first cell
    std::uint32_t base;     // number of that cell among the cells of all tables
    std::uint32_t regular;  // cells that stand for a symbol; the escape cell follows them
};

// Frozen tables and the decoder's look-up: for a table and the high bits of a slot, the first cell that can own it.
class Tables {
public:
    Tables(std::span<const std::int32_t> first, std::span<const std::int32_t> sizes,
           std::span<const std::uint16_t> frequencies) {
        if (first.empty() || first.size() > kMaxTables || first.size() != sizes.size())
            throw ArgumentError("tables: 1 to 256 tables are needed, each with a first symbol and a size");
        for (std::size_t row = 0; row < first.size(); ++row) {
            const std::int64_t size = sizes[row];
            if (size < 2 || size > kTotal || static_cast<std::size_t>(size) > frequencies.size() - cells_.size())
                throw ArgumentError("table " + std::to_string(row) + ": the size does not fit the frequencies");
            if (first[row] + size - 2 > std::numeric_limits<std::int32_t>::max())
                throw ArgumentError("table " + std::to_string(row) + ": symbols leave the range of int32");
            add(first[row], frequencies.subspan(cells_.size(), static_cast<std::size_t>(size)));
        }
        if (cells_.size() != frequencies.size())
            throw ArgumentError("tables: there are more frequencies than cells");
    }

    std::size_t size() const { return tables_.size(); }
    const Table& operator[](std::size_t row) const { return tables_[row]; }
    Cell cell(std::uint32_t number) const { return cells_[number]; }

    // Number of the cell (within its table) that owns a slot. Cells cover all slots: the search ends in the table.
    std::uint32_t find(std::size_t row, std::uint32_t slot) const {
        const Cell* cells = cells_.data() + tables_[row].base;
        std::uint32_t at = look_up_[(row << kBucketBits) + (slot >> kBucketShift)];
        while (slot - cells[at].start >= cells[at].frequency) ++at;
        return at;
    }

private:
    void add(std::int32_t first, std::span<const std::uint16_t> frequencies) {
        const std::string name = "table " + std::to_string(tables_.size());
        tables_.push_back({first, static_cast<std::uint32_t>(cells_.size()),
                           static_cast<std::uint32_t>(frequencies.size() - 1)});
        std::uint32_t start = 0;
        std::uint32_t bucket = 0;
        for (std::size_t i = 0; i < frequencies.size(); ++i) {
            const std::uint32_t end = start + frequencies[i];
            if (frequencies[i] == 0 || end > kTotal)
                throw ArgumentError(name + ": a frequency is zero, or their sum exceeds 32768");
            cells_.push_back({static_cast<std::uint16_t>(start), frequencies[i]});
            for (; (bucket << kBucketShift) < end; ++bucket) look_up_.push_back(static_cast<std::uint16_t>(i));
            start = end;
        }
        if (start != kTotal) throw ArgumentError(name + ": frequencies do not sum to 32768");
    }

    std::vector<Table> tables_;
    std::vector<Cell> cells_;
    std::vector<std::uint16_t> look_up_;
};

// Collects symbols slice by slice; finish() codes them, last symbol first. Calls from several threads take turns.
class Encoder {
public:
    explicit Encoder(const Tables& tables) : tables_(tables) {}

    template <class Symbol>
    void push(std::span<const Symbol> symbols, std::span<const std::uint8_t> indexes) {
        const std::lock_guard lock(mutex_);
        if (finished_) throw ArgumentError("the encoder has finished: make a new one");
        if (symbols.size() != indexes.size()) throw ArgumentError("symbols and indexes differ in number");
        const std::size_t before = entries_.size();
        const std::size_t escapes_before = escapes_.size();
        entries_.resize(before + symbols.size());
        for (std::size_t i = 0; i < symbols.size(); ++i) {
            const std::uint8_t row = indexes[i];
            if (row >= tables_.size()) {
                entries_.resize(before);
                escapes_.resize(escapes_before);
                throw ArgumentError("an index is not below the number of tables");
            }
            entries_[before + i] = entry(tables_[row], symbols[i]);
        }
    }

    std::vector<std::uint8_t> finish() {
        const std::lock_guard lock(mutex_);
        if (finished_) throw ArgumentError("the encoder has finished: make a new one");
        finished_ = true;
        const std::size_t lanes = choose_lanes();
        std::array<std::uint32_t, kMaxLanes> states;
        states.fill(kLower);
        for (std::size_t i = entries_.size(); i-- > 0;) {
            std::uint32_t& state = states[i & (lanes - 1)];
            if (entries_[i] & kEscape) {
                put_distance(state, escapes_.back());
                escapes_.pop_back();
            }
            put_cell(state, tables_.cell(entries_[i] & ~kEscape));
        }
        return serialise(std::span(states).first(lanes));
    }

private:
    struct Distance {
        std::uint32_t beyond;  // 1 is the symbol next to the table's edge
        bool above;
    };
    static constexpr std::uint32_t kEscape = 1u << 31;  // marks the number of an escape cell

    std::uint32_t entry(const Table& table, std::int64_t symbol) {
        const std::int64_t offset = symbol - table.first;
        const std::int64_t regular = table.regular;
        if (offset >= 0 && offset < regular) return table.base + static_cast<std::uint32_t>(offset);
        const bool above = offset >= 0;
        escapes_.push_back({static_cast<std::uint32_t>(above ? offset - regular + 1 : -offset), above});
        return (table.base + table.regular) | kEscape;
    }

    // From a lower bound of the coded size, in whole bits per symbol: the flush of small streams must stay small.
    std::size_t choose_lanes() const {
        std::uint64_t bits = 0;
        for (const std::uint32_t entry : entries_)
            bits += static_cast<std::uint64_t>(kPrecision - std::bit_width(tables_.cell(entry & ~kEscape).frequency));
        std::size_t lanes = 1;
        while (lanes < kMaxLanes && bits >= 2 * lanes * kBitsPerLane) lanes *= 2;
        return lanes;
    }

    void shrink(std::uint32_t& state, std::uint64_t limit) {
        if (state < limit) return;
        words_.push_back(static_cast<std::uint16_t>(state));
        state >>= 16;
    }

    void put_cell(std::uint32_t& state, Cell cell) {
        const std::uint32_t frequency = cell.frequency;
        shrink(state, static_cast<std::uint64_t>(frequency) << (32 - kPrecision));
        state = (state / frequency << kPrecision) + state % frequency + cell.start;
    }

    void put_bits(std::uint32_t& state, std::uint32_t value, int count) {  // count: 0 to 16
        shrink(state, std::uint64_t{1} << (32 - count));
        state = (state << count) | (value & ((1u << count) - 1));
    }

    void put_distance(std::uint32_t& state, Distance distance) {  // the mirror image of Decoder::take_distance
        const int exponent = std::bit_width(distance.beyond) - 1;
        put_bits(state, distance.beyond, std::min(exponent, 16));
        put_bits(state, distance.beyond >> 16, std::max(exponent - 16, 0));
        put_bits(state, 1, 1);
        for (int i = 0; i < exponent; ++i) put_bits(state, 0, 1);
        put_bits(state, distance.above, 1);
    }

    std::vector<std::uint8_t> serialise(std::span<const std::uint32_t> states) const {
        std::vector<std::uint8_t> bytes;
        bytes.reserve(1 + 4 * states.size() + 2 * words_.size());
        bytes.push_back(static_cast<std::uint8_t>(states.size()));
        for (const std::uint32_t state : states)
            for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<std::uint8_t>(state >> shift));
        for (std::size_t i = words_.size(); i-- > 0;) {
            bytes.push_back(static_cast<std::uint8_t>(words_[i]));
            bytes.push_back(static_cast<std::uint8_t>(words_[i] >> 8));
        }
        return bytes;
    }

    const Tables& tables_;
    std::mutex mutex_;
    std::vector<std::uint32_t> entries_;  // cell of every symbol
    std::vector<Distance> escapes_;
    std::vector<std::uint16_t> words_;  // last word of the stream first
    bool finished_ = false;
};

// Gives the symbols back slice by slice. After an error in the data every further call raises it again.
class Decoder {
public:
    Decoder(std::span<const std::uint8_t> bytes, const Tables& tables) : tables_(tables) {
        if (bytes.empty()) throw FormatError("coded symbols are empty: not even a lane count");
        lanes_ = bytes[0];
        if (!std::has_single_bit(lanes_) || lanes_ > kMaxLanes)
            throw FormatError("coded symbols are damaged: unknown number of lanes");
        if (bytes.size() < 1 + 4 * lanes_ || (bytes.size() - 1) % 2 != 0)
            throw FormatError("coded symbols are cut short");
        const auto word = [&](std::size_t at) { return static_cast<std::uint16_t>(bytes[at] | bytes[at + 1] << 8); };
        for (std::size_t lane = 0; lane < lanes_; ++lane) {
            states_[lane] = word(1 + 4 * lane) | static_cast<std::uint32_t>(word(3 + 4 * lane)) << 16;
            if (states_[lane] < kLower) throw FormatError("coded symbols are damaged: a state is out of range");
        }
        words_.reserve((bytes.size() - 1) / 2 - 2 * lanes_);
        for (std::size_t at = 1 + 4 * lanes_; at < bytes.size(); at += 2) words_.push_back(word(at));
    }

    void pull(std::span<const std::uint8_t> indexes, std::span<std::int32_t> symbols) {
        const std::lock_guard lock(mutex_);
        check_usable();
        if (symbols.size() != indexes.size()) throw ArgumentError("symbols and indexes differ in number");
        broken_ = true;  // until the slice is through
        for (std::size_t i = 0; i < indexes.size(); ++i, ++position_) {
            const std::uint8_t row = indexes[i];
            if (row >= tables_.size()) throw ArgumentError("an index is not below the number of tables");
            symbols[i] = take_symbol(states_[position_ & (lanes_ - 1)], row);
        }
        broken_ = false;
    }

    void finish() {
        const std::lock_guard lock(mutex_);
        check_usable();
        finished_ = true;
        if (next_ != words_.size()) throw FormatError("coded symbols are damaged: words are left over");
        for (std::size_t lane = 0; lane < lanes_; ++lane)
            if (states_[lane] != kLower) throw FormatError("coded symbols are damaged: a lane ends in the wrong state");
    }

private:
    void check_usable() const {
        if (finished_) throw ArgumentError("the decoder has finished: make a new one");
        if (broken_) throw FormatError("coded symbols are damaged: an earlier slice could not be decoded");
    }

    void grow(std::uint32_t& state) {
        if (state >= kLower) return;  // else one word is enough: no step takes more than 16 bits
        if (next_ == words_.size()) throw FormatError("coded symbols are cut short or damaged: no word left");
        state = (state << 16) | words_[next_++];
    }

    std::int32_t take_symbol(std::uint32_t& state, std::size_t row) {
        const Table& table = tables_[row];
        const std::uint32_t slot = state & (kTotal - 1);
        const std::uint32_t at = tables_.find(row, slot);
        const Cell cell = tables_.cell(table.base + at);
        state = cell.frequency * (state >> kPrecision) + slot - cell.start;
        grow(state);
        if (at == table.regular) return take_distance(state, table);
        return table.first + static_cast<std::int32_t>(at);
    }

    std::uint32_t take_bits(std::uint32_t& state, int count) {  // count: 0 to 16
        const std::uint32_t value = state & ((1u << count) - 1);
        state >>= count;
        grow(state);
        return value;
    }

    std::int32_t take_distance(std::uint32_t& state, const Table& table) {
        const bool above = take_bits(state, 1) != 0;
        int exponent = 0;
        while (take_bits(state, 1) == 0)
            if (++exponent > kMaxExponent) throw FormatError("coded symbols are damaged: an escape is too long");
        std::int64_t beyond = std::int64_t{1} << exponent;
        beyond |= static_cast<std::int64_t>(take_bits(state, std::max(exponent - 16, 0))) << 16;
        beyond |= take_bits(state, std::min(exponent, 16));
        const std::int64_t edge = table.first;
        const std::int64_t symbol = above ? edge + table.regular - 1 + beyond : edge - beyond;
        if (symbol < std::numeric_limits<std::int32_t>::min() || symbol > std::numeric_limits<std::int32_t>::max())
            throw FormatError("coded symbols are damaged: an escape leaves the range of int32");
        return static_cast<std::int32_t>(symbol);
    }

    const Tables& tables_;
    std::mutex mutex_;
    std::size_t lanes_ = 1;
    std::array<std::uint32_t, kMaxLanes> states_{};
    std::vector<std::uint16_t> words_;
    std::size_t next_ = 0;      // first word not taken yet
    std::size_t position_ = 0;  // symbols decoded so far
    bool broken_ = false;
    bool finished_ = false;
};

}  // namespace intaglio
