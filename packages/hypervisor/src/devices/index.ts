export { EduFunction, type EduInterrupts, type EduOptions } from "./edu.ts";
export * from "./virtio/index.ts";
