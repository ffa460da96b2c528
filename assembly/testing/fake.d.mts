// The types of fake.mjs.
export interface PluginCall {
  method: string;
  driver?: string;
  volume?: number;
  options?: Record<string, unknown>;
  timeout_ms?: number;
}

export interface PluginAnswer {
  kind: "ok" | "error" | "unknown" | "refused";
  error?: string;
  reason?: string;
  scope?: string;
}

/** A host call: what was asked, what was answered, and the world's time then. */
export interface Entry {
  import: string;
  request: {
    calls?: PluginCall[];
    stages?: { volume: number; read_only: boolean }[];
    ms?: number;
    level?: string;
    message?: string;
  };
  answer: { ok?: { answers?: PluginAnswer[]; stages?: { ok?: boolean; error?: { message: string } }[] } };
  at: number;
}

/** A prescribed answer to a plugin method, "stage.one" or an import; of all volumes where `volume` is -1, always where `times` is 0. */
export interface Rule {
  on: string;
  volume: number;
  driver: string;
  times: number;
  answer: unknown;
}

export type Operation = "configure" | "parse" | "prepare" | "cleanup" | "recover" | "canary";

/** What the engine offers to each export. */
export const OFFERED: Readonly<Record<Operation, { imports: readonly string[] }>>;

export interface Fake {
  state: {
    script: Rule[];
    missing: Set<number>;
    scopes: Map<string, string>;
    clock: number;
    left: number;
    log: Entry[];
  };
  /** Prescribes the next answer to what `on` names; without volume or driver, of all of them; always where `times` is 0. */
  script: (on: string, answer: unknown, of?: Partial<Pick<Rule, "volume" | "driver" | "times">>) => void;
  /** Answers a host call of an export (prepare unless said); null where the engine would end the export for it. */
  answer: (name: string, request: string, operation?: Operation) => string | null;
  began: number;
  names: string[];
}

export function createFake(options?: {
  volumes?: { driver: string; name: string }[];
  seed?: number;
  faults?: number;
}): Fake;
export function inWords(entry: Entry): string;
