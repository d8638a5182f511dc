export { QemuEngine, type LinuxProgram } from "./qemu-engine.ts";
