export type { InterruptRemapper, IoApic, LocalApics } from "./interfaces.ts";
