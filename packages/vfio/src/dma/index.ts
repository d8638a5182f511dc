export { BOUNCE_SEGMENT, BOUNCE_SLOT, BouncePool, type BouncePoolOptions } from "./bounce-pool.ts";
export type { CoherentBuffer } from "./coherent.ts";
export type { DmaDirection } from "./direction.ts";
export type { DmaCounters } from "./dma-counters.ts";
export { DmaDevice, type ScatterMapping } from "./dma-device.ts";
export { MAPPING_ERROR, type DmaAddress, type DmaDeviceOptions, type DmaMode } from "./dma-options.ts";
export { FLUSH_QUEUE_SIZE, FLUSH_QUEUE_TIMEOUT } from "./flush-queue.ts";
export { IovaAllocator, MSI_WINDOW, type IovaAllocatorOptions, type ReservedIova } from "./iova-allocator.ts";
export type { DmaSegment, ScatterEntry, SegmentLimits } from "./scatter.ts";
