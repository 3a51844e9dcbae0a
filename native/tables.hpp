// Frozen frequency tables, checked, and what the kernels look up in them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace intaglio {

// Coded data cannot be decoded.
struct FormatError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A call is wrong.
struct ArgumentError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

inline constexpr std::uint32_t kSurprises = 8;  // a table that leaves no more than this to other symbols means zero

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

    std::size_t size() const { return rows_.size(); }
    View view() const { return {buckets_.data(), rows_.data(), cells_.data(), near_.data(), certain_.data()}; }

    // First symbol of a table that codes something; the kernels see tables beyond int16 moved by `shift`.
    std::int64_t first(std::size_t row) const { return rows_[row].first + std::int64_t{shifts_[row]}; }
    std::int64_t shift(std::size_t row) const { return shifts_[row]; }
    std::int64_t regular(std::size_t row) const { return rows_[row].regular; }
    bool shifted() const { return shifted_; }  // any table

    // Whether each of the first kTwin tables is certain or its twin is not.
    bool twins() const {
        for (std::size_t row = 0; row < kTwin; ++row)
            if (certain_[row + kTwin] && !certain_[row]) return false;
        return true;
    }

    // Number of the symbol's cell in its table, or of the escape's.
    std::int64_t cell(std::size_t row, std::int64_t symbol) const {
        const std::int64_t offset = symbol - first(row);
        return offset >= 0 && offset < regular(row) ? offset : regular(row);
    }

    std::uint32_t frequency(std::size_t row, std::int64_t cell) const {
        return cells_[rows_[row].base + static_cast<std::size_t>(cell)].frequency;
    }

    // About how many 1/256 bits a symbol costs; integers, so that every machine chooses alike.
    std::uint32_t cost(std::size_t row, std::int64_t symbol) const {
        if (certain_[row]) return 0;
        const std::uint32_t share = frequency(row, cell(row, symbol));
        const int whole = std::bit_width(share) - 1;
        const std::uint32_t logarithm = (whole << 8) + ((share << 8 >> whole) - 256);
        return (kPrecision << 8) - logarithm;
    }

private:
    void add(std::int32_t first, std::span<const std::uint16_t> frequencies) {
        const std::string name = "table " + std::to_string(rows_.size());
        const std::size_t base = cells_.size();
        std::uint32_t start = 0;
        for (const std::uint32_t frequency : frequencies) {
            if (frequency == 0 || start + frequency > kTotal)
                throw ArgumentError(name + ": a frequency is zero, or their sum exceeds 32768");
            // see `put` in scalar.hpp
            const auto reciprocal = static_cast<float>((1.0 - 0x1p-21) / frequency);
            cells_.push_back({static_cast<std::uint16_t>(start), static_cast<std::uint16_t>(frequency), reciprocal});
            start += frequency;
        }
        if (start != kTotal) throw ArgumentError(name + ": frequencies do not sum to 32768");
        const auto regular = static_cast<std::int64_t>(frequencies.size() - 1);
        const bool has_zero = first <= 0 && first + regular > 0;
        const auto zero = static_cast<std::size_t>(-std::int64_t{first});
        const bool certain = has_zero && frequencies[zero] >= kTotal - kSurprises;
        const bool far = first <= -32768 || first + regular > 32767;
        certain_[rows_.size()] = certain ? 255 : 0;
        shifted_ |= far;
        shifts_.push_back(far ? first : 0);
        rows_.push_back({static_cast<std::uint32_t>(base), static_cast<std::int16_t>(far ? 0 : first),
                         static_cast<std::uint16_t>(regular)});
        for (std::int32_t symbol = -kNear / 2; symbol < kNear / 2; ++symbol) {
            const std::int32_t offset = symbol - rows_.back().first;
            near_.push_back(offset >= 0 && offset < regular ? cells_[base + static_cast<std::size_t>(offset)] : Cell{});
        }
        add_buckets(rows_.back());
    }

    // For each bucket the pair of neighbouring cells that owns most of its slots.
    void add_buckets(const Row& row) {
        const std::span<const Cell> cells = std::span(cells_).subspan(row.base);
        std::size_t from = 0;  // first cell that ends within the bucket or later
        for (std::uint32_t low = 0; low < kTotal; low += 1u << kBucketShift) {
            const std::uint32_t high = low + (1u << kBucketShift);
            const auto owned = [&](std::size_t at) -> std::uint32_t {
                if (at >= row.regular) return 0;
                const std::uint32_t start = cells[at].start;
                const std::uint32_t end = start + cells[at].frequency;
                return std::clamp(end, low, high) - std::clamp(start, low, high);
            };
            while (cells[from].start + cells[from].frequency <= low) ++from;
            std::size_t best = from;
            for (std::size_t at = from; at < row.regular && cells[at].start < high; ++at)
                if (owned(at) + owned(at + 1) > owned(best) + owned(best + 1)) best = at;
            const bool escape = best == row.regular;
            const std::size_t right = best + 1;
            buckets_.push_back({cells[best].start, escape ? std::uint16_t{0} : cells[best].frequency,
                                static_cast<std::uint16_t>(row.first + static_cast<std::int32_t>(best)),
                                right < row.regular ? cells[right].frequency : std::uint16_t{0}});
        }
    }

    std::vector<Row> rows_;
    std::vector<std::int32_t> shifts_;
    std::vector<Cell> cells_;
    std::vector<Cell> near_;
    std::vector<Bucket> buckets_;
    std::array<std::uint8_t, kMaxTables> certain_{};
    bool shifted_ = false;
};

}  // namespace intaglio
