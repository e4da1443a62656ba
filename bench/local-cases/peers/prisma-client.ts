/**
 * What `prisma generate` would write for our one model, by hand: the command has install scripts and 300 MB of programs.
 * The runtime below it is Prisma's own.
 */
import type { PrismaPg } from '@prisma/adapter-pg';
import * as runtime from '@prisma/client/runtime/client';

export interface Client {
  readonly note: { create(args: { readonly data: { readonly text: string } }): Promise<unknown> };
  $queryRawUnsafe(sql: string): Promise<unknown>;
  $transaction<T>(work: (tx: Client) => Promise<T>, options?: { readonly maxWait: number }): Promise<T>;
}

const inlineSchema = `
  datasource db {
    provider = "postgresql"
  }
  model Note {
    id   Int    @id @default(autoincrement())
    text String
    @@map("note")
  }`;

const models = {
  Note: {
    dbName: 'note',
    schema: null,
    fields: [
      { name: 'id', kind: 'scalar', type: 'Int' },
      { name: 'text', kind: 'scalar', type: 'String' },
    ],
  },
};

/** The compiler of queries; these files of the package have no types. */
const compiler = '@prisma/client/runtime/query_compiler_fast_bg.postgresql';
const importUntyped = async <T>(name: string) => (await import(name)) as T;
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { readonly Module: new (bytes: Uint8Array) => object };
};

const config = {
  previewFeatures: [],
  clientVersion: '7.10.0',
  engineVersion: '',
  activeProvider: 'postgresql',
  inlineSchema,
  runtimeDataModel: { models, enums: {}, types: {} },
  // For a cache of query plans, which we do without.
  parameterizationSchema: { strings: [], graph: 'AAAA' },
  compilerWasm: {
    getRuntime: () => importUntyped<object>(`${compiler}.mjs`),
    async getQueryCompilerWasmModule() {
      const { wasm } = await importUntyped<{ readonly wasm: string }>(`${compiler}.wasm-base64.mjs`);
      return new WebAssembly.Module(Buffer.from(wasm, 'base64'));
    },
    importName: './query_compiler_fast_bg.js',
  },
};

export const PrismaClient = runtime.getPrismaClient(
  config as unknown as runtime.GetPrismaClientConfig,
) as unknown as new (options: { readonly adapter: PrismaPg }) => Client;
