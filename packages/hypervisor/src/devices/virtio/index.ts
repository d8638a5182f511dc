export { virtioBlock, DiskError, SECTOR, type BlockBackend } from "./block.ts";
export { VirtioConsole } from "./console.ts";
export { addressOf, DeviceMemory, DmaRefused, type DmaAddress } from "./dma.ts";
export { virtioEntropy } from "./entropy.ts";
export { Feature, VirtioFunction, type QueueAccess, type VirtioDevice } from "./virtio-function.ts";
export { QueueBroken, Virtqueue, type Buffer, type Chain } from "./virtqueue.ts";
