// Bits that travel beside the words: they fill the stream from its end downwards, while the words fill it upwards.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tables.hpp"

namespace intaglio {

inline constexpr int kGapOrder = 11;  // of the Golomb code for the distance between surprises

// Numbers go lowest bit first; the first bits are the low ones of the stream's last byte.
class BitWriter {
public:
    void put(std::uint64_t value, int count) {
        for (int done = 0; done < count;) {
            if (free_ == 0) {
                bytes_.push_back(0);
                free_ = 8;
            }
            const int part = std::min(count - done, free_);
            const std::uint64_t bits = value >> done & ((1u << part) - 1);
            bytes_.back() |= static_cast<std::uint8_t>(bits << (8 - free_));
            free_ -= part;
            done += part;
        }
    }

    void put_zeros_and_one(int zeros) {
        put(0, zeros);
        put(1, 1);
    }

    // A number of at least 1: Elias gamma.
    void put_gamma(std::uint64_t number) {
        const int exponent = static_cast<int>(std::bit_width(number)) - 1;
        put_zeros_and_one(exponent);
        put(number, exponent);
    }

    // Any number below 2^63: its length, then its bits below the highest.
    void put_count(std::uint64_t number) {
        const int length = static_cast<int>(std::bit_width(number));
        put(static_cast<std::uint64_t>(length), 6);
        put(number, std::max(length - 1, 0));
    }

    // Any number: exponential Golomb code of order kGapOrder.
    void put_gap(std::uint64_t number) {
        const std::uint64_t shifted = number + (std::uint64_t{1} << kGapOrder);
        const int exponent = static_cast<int>(std::bit_width(shifted)) - 1 - kGapOrder;
        put_zeros_and_one(exponent);
        put(shifted, exponent + kGapOrder);
    }

    // A number from 2^16 up, in 20 to 35 bits.
    void put_floating(std::uint32_t number) {
        const int exponent = static_cast<int>(std::bit_width(number)) - 1;
        put(static_cast<std::uint64_t>(exponent - 16), 4);
        put(number, exponent);
    }

    const std::vector<std::uint8_t>& bytes() const { return bytes_; }

private:
    std::vector<std::uint8_t> bytes_;
    int free_ = 0;  // bits of the last byte
};

class BitReader {
public:
    explicit BitReader(std::span<const std::uint8_t> bytes) : bytes_(bytes), byte_(bytes.size()) {}

    std::uint64_t take(int count) {
        std::uint64_t value = 0;
        for (int done = 0; done < count;) {
            if (left_ == 0) {
                if (byte_ == 0) throw FormatError("coded symbols are cut short or damaged: no bit left");
                --byte_;
                left_ = 8;
            }
            const int part = std::min(count - done, left_);
            const std::uint64_t bits = bytes_[byte_] >> (8 - left_) & ((1u << part) - 1);
            value |= bits << done;
            left_ -= part;
            done += part;
        }
        return value;
    }

    // Length of a run of zeros; the one after it is taken too.
    int take_zeros_and_one(int most) {
        for (int zeros = 0; zeros <= most; ++zeros)
            if (take(1)) return zeros;
        throw FormatError("coded symbols are damaged: a number is too long");
    }

    std::uint64_t take_gamma() {
        const int exponent = take_zeros_and_one(31);
        return std::uint64_t{1} << exponent | take(exponent);
    }

    std::uint64_t take_count() {
        const int length = static_cast<int>(take(6));
        return length == 0 ? 0 : std::uint64_t{1} << (length - 1) | take(length - 1);
    }

    std::uint64_t take_gap() {
        const int exponent = take_zeros_and_one(63 - kGapOrder) + kGapOrder;
        return (std::uint64_t{1} << exponent | take(exponent)) - (std::uint64_t{1} << kGapOrder);
    }

    std::uint32_t take_floating() {
        const int exponent = 16 + static_cast<int>(take(4));
        return static_cast<std::uint32_t>(std::uint64_t{1} << exponent | take(exponent));
    }

    // The lowest byte taken from, even in part.
    const std::uint8_t* end() const { return bytes_.data() + byte_; }

    bool rest_is_zero() const { return left_ == 0 || bytes_[byte_] >> (8 - left_) == 0; }

private:
    std::span<const std::uint8_t> bytes_;
    std::size_t byte_;  // the one being taken from
    int left_ = 0;  // bits of that byte
};

}  // namespace intaglio
