export type { Engine, EngineEnd, EngineOptions, EngineSession, GuestBus, GuestRam, RegisterWindow } from "./engine.ts";
