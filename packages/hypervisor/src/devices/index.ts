export { EduFunction, type EduInterrupts, type EduOptions } from "./edu.ts";
export { SharedLink, STREAM_DESCRIPTOR, StreamControl, StreamDevice, StreamFlag, StreamInterrupt, StreamRegister, type StreamOptions } from "./stream.ts";
export { StreamDriver, type StreamAccess } from "./stream-driver.ts";
export * from "./virtio/index.ts";
