import { hex, PAGE_SIZE, PHYSICAL_LIMIT, type FrameAllocator, type Hpa, type PhysicalMemory } from "@iommu-lab/memory";
import type { BouncePool } from "./bounce-pool.ts";
import { allocateFrames, freeFrames, type CoherentBuffer } from "./coherent.ts";
import type { DmaDirection } from "./direction.ts";
import { MAPPING_ERROR, type DmaAddress, type DmaDeviceOptions, type DmaMode } from "./dma-options.ts";
import { newDmaCounters, type DmaCounters } from "./dma-counters.ts";
import { joinSegments, placeEntries, type DmaSegment, type ScatterEntry, type SegmentLimits } from "./scatter.ts";
import { TranslatedRanges } from "./translated-ranges.ts";

/** A buffer in pieces, mapped. Give it back to `unmapScatter` as it is. */
export interface ScatterMapping {
  /** What the device is programmed with. */
  readonly segments: readonly DmaSegment[];
  readonly direction: DmaDirection;
}

interface Mapping {
  readonly address: DmaAddress;
  readonly size: number;
  readonly direction: DmaDirection;
  readonly bounced: Hpa | undefined;
  /** How many mappings of this address there are; more than one in identity mode only. */
  count: number;
}

/** The kernel's DMA API for one device. Linux Documentation/core-api/dma-api.rst. */
export class DmaDevice {
  readonly mode: DmaMode;
  /** First address the device cannot drive. */
  readonly limit: number;
  readonly #counters: DmaCounters = newDmaCounters();
  readonly #ranges: TranslatedRanges | undefined;
  readonly #bounce: BouncePool | undefined;
  readonly #frames: FrameAllocator | undefined;
  readonly #memory: PhysicalMemory;
  readonly #untrusted: boolean;
  readonly #segments: SegmentLimits;
  /** By page behind an IOMMU, where each mapping has pages of its own (small integers make quick keys); by address in identity mode. */
  readonly #live = new Map<number, Mapping>();
  readonly #scatters = new Map<ScatterMapping, { readonly iova: number; readonly length: number } | undefined>();
  readonly #coherent = new Set<CoherentBuffer>();

  /** @throws RangeError when the options do not go together: a domain is needed except in identity mode, and untrusted devices are strict */
  constructor(options: DmaDeviceOptions) {
    const { mode, domain, clock, maskBits = 64, bounce, frames, untrusted = false, segments = { maxSize: 0x1_0000, boundary: 2 ** 32 } } = options;
    if (!(maskBits >= 12 && maskBits <= 64)) throw new RangeError(`A device with ${maskBits} address bits is not modelled; 12 to 64 are.`);
    if (untrusted && mode !== "strict") throw new RangeError(`An untrusted device cannot be ${mode}: only strict mode takes pages away from it at once.`);
    if ((domain?.kind === "paging") !== (mode !== "identity")) throw new RangeError(`Mode ${mode} needs ${mode === "identity" ? "no domain of its own" : "a paging domain"}.`);
    this.mode = mode;
    this.#memory = options.memory;
    this.limit = Math.min(2 ** maskBits, PHYSICAL_LIMIT);
    this.#bounce = bounce;
    this.#frames = frames;
    this.#untrusted = untrusted;
    this.#segments = segments;
    this.#ranges = domain && new TranslatedRanges({ ...options, domain, clock, lazy: mode === "lazy", limit: this.limit, counters: this.#counters });
  }

  /** What has happened so far; a live view. */
  get counters(): Readonly<DmaCounters> {
    return this.#counters;
  }

  /** Maps a buffer for streaming. @returns the address for the device, or `MAPPING_ERROR` */
  map(hpa: Hpa, size: number, direction: DmaDirection, processor = 0): DmaAddress {
    requireBuffer(hpa, size);
    const address = this.#mapOne(hpa, size, direction, processor);
    if (address === MAPPING_ERROR) this.#counters.mappingErrors++;
    else this.#counters.maps++;
    return address;
  }

  /**
   * Takes a mapping away. What the device wrote to a bounce buffer goes to the original now.
   * @throws RangeError when there is no such mapping, or size or direction are not those of `map`
   */
  unmap(address: DmaAddress, size: number, direction: DmaDirection, processor = 0): void {
    const mapping = this.#mappingAt(address);
    if (mapping.size !== size || mapping.direction !== direction)
      throw new RangeError(`The mapping at DMA address ${hex(address)} has ${hex(mapping.size)} bytes ${mapping.direction}; it cannot be unmapped as ${hex(size)} bytes ${direction}.`);
    this.#unmapOne(address, mapping, processor);
    this.#counters.unmaps++;
  }

  /** Maps a buffer in pieces: behind an IOMMU into one range, so that few segments are left. @returns undefined where `map` gives `MAPPING_ERROR` */
  mapScatter(entries: readonly ScatterEntry[], direction: DmaDirection, processor = 0): ScatterMapping | undefined {
    if (entries.length === 0) throw new RangeError("A scatter list needs at least one entry.");
    for (const { hpa, size } of entries) requireBuffer(hpa, size);
    const mapping = this.#ranges && !this.#untrusted ? this.#mapTogether(this.#ranges, entries, direction, processor) : this.#mapEach(entries, direction, processor);
    if (!mapping) {
      this.#counters.mappingErrors++;
      return undefined;
    }
    this.#counters.maps++;
    this.#counters.scatterEntries += entries.length;
    this.#counters.scatterSegments += mapping.segments.length;
    return mapping;
  }

  /** @throws RangeError when the mapping is not one of `mapScatter`, or already gone */
  unmapScatter(mapping: ScatterMapping, processor = 0): void {
    if (!this.#scatters.has(mapping)) throw new RangeError("This scatter mapping is not mapped.");
    const range = this.#scatters.get(mapping);
    this.#scatters.delete(mapping);
    if (range) {
      this.#ranges?.unmap(range.iova, range.length, processor);
      this.#counters.liveMappings--;
    } else for (const { address } of mapping.segments) this.#unmapOne(address, this.#mappingAt(address), processor);
    this.#counters.unmaps++;
  }

  /**
   * Memory that processor and device share for long: zeroed pages, anywhere in memory behind an IOMMU, in one piece without.
   * @param size bytes; whole pages are allocated
   * @returns undefined when there is no room. @throws RangeError without `frames`
   */
  allocateCoherent(size: number): CoherentBuffer | undefined {
    if (!this.#frames) throw new RangeError("This device was given no frames to allocate coherent memory from.");
    const taken = allocateFrames(this.#frames, size, this.#ranges === undefined);
    const address = taken && this.#placeCoherent(taken.pages);
    if (!taken || address === undefined) {
      if (taken) freeFrames(this.#frames, taken.blocks);
      this.#counters.mappingErrors++;
      return undefined;
    }
    for (const hpa of taken.pages) this.#memory.writeFrom(hpa, new Uint8Array(PAGE_SIZE));
    const buffer: CoherentBuffer = { address, ...taken };
    this.#coherent.add(buffer);
    this.#counters.maps++;
    this.#counters.liveMappings++;
    return buffer;
  }

  /** @throws RangeError when it is not one of `allocateCoherent`, or already freed */
  freeCoherent(buffer: CoherentBuffer): void {
    if (!this.#frames || !this.#coherent.delete(buffer)) throw new RangeError("This buffer is no coherent memory of the device.");
    // Frames go back to the allocator: not before the device has lost them, in lazy mode either.
    this.#ranges?.unmap(buffer.address, buffer.pages.length * PAGE_SIZE, 0);
    this.#ranges?.flush();
    freeFrames(this.#frames, buffer.blocks);
    this.#counters.unmaps++;
    this.#counters.liveMappings--;
  }

  /** Before the processor reads what the device wrote: copies it out of a bounce buffer. `from` and `size` choose a part. */
  syncForCpu(address: DmaAddress, from = 0, size = this.#mappingAt(address).size - from): void {
    const mapping = this.#mappingAt(address);
    requirePart(mapping, from, size);
    if (mapping.direction !== "to-device") this.#copyOut(mapping, from, size);
  }

  /** Before the device reads what the processor wrote: copies it into a bounce buffer. */
  syncForDevice(address: DmaAddress, from = 0, size = this.#mappingAt(address).size - from): void {
    const mapping = this.#mappingAt(address);
    requirePart(mapping, from, size);
    if (mapping.direction !== "from-device") this.#copyIn(mapping, from, size);
  }

  /** Lazy mode: flushes what is queued now. */
  flush(): void {
    this.#ranges?.flush();
  }

  /** What the device's address lines carry of an address: a driver that hands over an HPA without mapping it reaches this one. */
  truncate(address: number): number {
    return address % this.limit;
  }

  #mapOne(hpa: Hpa, size: number, direction: DmaDirection, processor: number): DmaAddress {
    const granule = this.#ranges?.granule;
    const partial = granule !== undefined && this.#untrusted && (hpa % granule !== 0 || size % granule !== 0);
    const bounced = partial || (granule === undefined && hpa + size > this.limit) ? this.#bounce?.take(hpa, size, granule ?? 1) : undefined;
    const at = bounced ?? hpa;
    const address = (partial && bounced === undefined) ? undefined : this.#place(at, size, direction, processor);
    if (address === undefined) {
      if (bounced !== undefined) this.#bounce?.release(bounced);
      return MAPPING_ERROR;
    }
    this.#record(address, size, direction, bounced);
    return address;
  }

  #place(hpa: Hpa, size: number, direction: DmaDirection, processor: number): DmaAddress | undefined {
    if (!this.#ranges) return hpa + size <= this.limit ? hpa : undefined;
    const { granule } = this.#ranges;
    const offset = hpa % granule;
    const pages = Math.ceil((offset + size) / granule) * granule;
    const iova = this.#ranges.map([{ hpa: hpa - offset, at: 0, pages }], pages, direction, processor);
    return iova === undefined ? undefined : iova + offset;
  }

  #record(address: DmaAddress, size: number, direction: DmaDirection, bounced: Hpa | undefined): void {
    this.#counters.liveMappings++;
    const key = this.#keyOf(address);
    const same = this.#live.get(key);
    if (same) {
      if (same.size === size && same.direction === direction) same.count++;
      // Identity mode: the same memory mapped twice with different sizes; the later call is remembered.
      else this.#live.set(key, { address, size, direction, bounced, count: same.count + 1 });
      return;
    }
    const mapping: Mapping = { address, size, direction, bounced, count: 1 };
    this.#live.set(key, mapping);
    if (bounced === undefined) return;
    this.#counters.bouncedMaps++;
    this.#counters.bouncedBytes += size;
    // Also from-device: what the device leaves unwritten must come back as it was.
    this.#copyIn(mapping, 0, size);
  }

  #unmapOne(address: DmaAddress, mapping: Mapping, processor: number): void {
    mapping.count--;
    if (mapping.count === 0) this.#live.delete(this.#keyOf(address));
    this.#counters.liveMappings--;
    if (this.#ranges) {
      const { granule } = this.#ranges;
      const offset = address % granule;
      this.#ranges.unmap(address - offset, Math.ceil((offset + mapping.size) / granule) * granule, processor);
    }
    if (mapping.bounced === undefined) return;
    if (mapping.direction !== "to-device") this.#copyOut(mapping, 0, mapping.size);
    this.#bounce?.release(mapping.bounced);
  }

  #mapTogether(ranges: TranslatedRanges, entries: readonly ScatterEntry[], direction: DmaDirection, processor: number): ScatterMapping | undefined {
    const { placed, length } = placeEntries(entries, ranges.granule, this.#segments.boundary);
    const iova = ranges.map(placed, length, direction, processor);
    if (iova === undefined) return undefined;
    const mapping: ScatterMapping = { segments: joinSegments(placed, iova, this.#segments), direction };
    this.#scatters.set(mapping, { iova, length });
    this.#counters.liveMappings++;
    return mapping;
  }

  #mapEach(entries: readonly ScatterEntry[], direction: DmaDirection, processor: number): ScatterMapping | undefined {
    const segments: DmaSegment[] = [];
    for (const { hpa, size } of entries) {
      const address = this.#mapOne(hpa, size, direction, processor);
      if (address === MAPPING_ERROR) {
        for (const done of segments) this.#unmapOne(done.address, this.#mappingAt(done.address), processor);
        return undefined;
      }
      segments.push({ address, size });
    }
    const mapping: ScatterMapping = { segments, direction };
    this.#scatters.set(mapping, undefined);
    return mapping;
  }

  #placeCoherent(pages: readonly Hpa[]): DmaAddress | undefined {
    const size = pages.length * PAGE_SIZE;
    const first = pages[0] as number;
    if (!this.#ranges) return first + size <= this.limit ? first : undefined;
    return this.#ranges.map(pages.map((hpa, index) => ({ hpa, at: index * PAGE_SIZE, pages: PAGE_SIZE })), size, "bidirectional", 0);
  }

  #copyIn({ bounced }: Mapping, from: number, size: number): void {
    if (bounced === undefined) return;
    this.#bounce?.copyIn(bounced, from, size);
    this.#counters.copiesIn++;
    this.#counters.bytesCopiedIn += size;
  }

  #copyOut({ bounced }: Mapping, from: number, size: number): void {
    if (bounced === undefined) return;
    this.#bounce?.copyOut(bounced, from, size);
    this.#counters.copiesOut++;
    this.#counters.bytesCopiedOut += size;
  }

  #keyOf(address: DmaAddress): number {
    return this.#ranges ? Math.floor(address / this.#ranges.granule) : address;
  }

  #mappingAt(address: DmaAddress): Mapping {
    const mapping = this.#live.get(this.#keyOf(address));
    if (mapping?.address !== address) throw new RangeError(address === MAPPING_ERROR ? "MAPPING_ERROR is no mapping; check what map gives." : `Nothing is mapped at DMA address ${hex(address)}.`);
    return mapping;
  }
}

const requireBuffer = (hpa: Hpa, size: number): void => {
  if (!(Number.isInteger(hpa) && Number.isInteger(size) && hpa >= 0 && size > 0 && hpa + size <= PHYSICAL_LIMIT)) throw new RangeError(`${size} bytes at HPA ${hpa} are no buffer: it has at least one byte and ends below 2^52.`);
};

const requirePart = ({ size }: Mapping, from: number, part: number): void => {
  if (!(from >= 0 && part >= 0 && from + part <= size)) throw new RangeError(`Bytes ${from} to ${from + part} are not within a mapping of ${size} bytes.`);
};
