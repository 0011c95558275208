/* A plugin for qemu-user that counts the interpreted program's instructions, by what it is at and by function (../count.sh runs it).
 *
 *   qemu-aarch64 -d plugin -D /dev/null -plugin ./count.so,marks=MARKS,out=OUT PROGRAM...
 *
 * MARKS has lines `SYMBOL STAGE`, with the names as the program has them. From the first block of SYMBOL that runs, what runs is counted
 * as STAGE, until a block of another such function runs. OUT gets lines `INSTRUCTIONS STAGE SYMBOL`. Threads share one stage and count
 * without locks: this is for a program's one thread that works. Without `-d plugin` qemu reads no symbols.
 *
 * Debian has no package with qemu's own header: below stand the few functions that are used, the same in all versions of the interface
 * from 1 on (https://www.qemu.org/docs/master/devel/tcg-plugins.html). API is the version that the plugin says it was made for.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0 };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t number);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*seen)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*runs)(unsigned, void *), int registers, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*ends)(qemu_plugin_id_t, void *), void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = API;

enum { STAGES = 32, NO_STAGE = -1 };

/* What MARKS says of one function. */
struct mark {
    char *symbol;
    int stage;
    struct mark *next;
};

/* A run of instructions without a jump into it. */
struct block {
    const char *symbol;
    uint64_t instructions;
    int stage;
    uint64_t runs[STAGES];
    struct block *next;
};

static struct mark *marks;
static struct block *blocks;
/* Stage 0 is what runs before the first marked function. */
static char *stages[STAGES] = {"other"};
static int stage_count = 1, current;
static const char *out;

static void *allocated(void *memory)
{
    if (!memory) {
        perror("count.so");
        exit(3);
    }
    return memory;
}

static int stage_named(const char *name)
{
    for (int i = 0; i < stage_count; i++)
        if (strcmp(stages[i], name) == 0)
            return i;
    if (stage_count == STAGES) {
        fprintf(stderr, "the counting plugin: more than %d stages\n", STAGES);
        exit(3);
    }
    stages[stage_count] = allocated(strdup(name));
    return stage_count++;
}

static int read_marks(const char *path)
{
    FILE *file = fopen(path, "r");
    char *symbol, *stage;
    if (!file) {
        perror(path);
        return -1;
    }
    while (fscanf(file, "%ms %ms", &symbol, &stage) == 2) {
        struct mark *mark = allocated(malloc(sizeof *mark));
        *mark = (struct mark){.symbol = symbol, .stage = stage_named(stage), .next = marks};
        marks = mark;
        free(stage);
    }
    return fclose(file);
}

static void runs(unsigned processor, void *data)
{
    struct block *block = data;
    (void)processor;
    if (block->stage != NO_STAGE)
        current = block->stage;
    block->runs[current]++;
}

static void seen(qemu_plugin_id_t id, struct qemu_plugin_tb *translated)
{
    struct block *block = allocated(calloc(1, sizeof *block));
    const char *symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(translated, 0));
    (void)id;
    block->symbol = symbol && *symbol ? symbol : "?";
    block->instructions = qemu_plugin_tb_n_insns(translated);
    block->stage = NO_STAGE;
    for (struct mark *mark = marks; mark; mark = mark->next)
        if (strcmp(mark->symbol, block->symbol) == 0)
            block->stage = mark->stage;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, runs, NO_REGISTERS, block);
}

static void ends(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(out, "w");
    (void)id, (void)data;
    if (!file) {
        perror(out);
        return;
    }
    for (struct block *block = blocks; block; block = block->next)
        for (int i = 0; i < stage_count; i++)
            if (block->runs[i])
                fprintf(file, "%llu %s %s\n", (unsigned long long)(block->runs[i] * block->instructions), stages[i], block->symbol);
    if (fclose(file))
        perror(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    for (int i = 0; i < count; i++) {
        if (strncmp(arguments[i], "out=", 4) == 0)
            out = allocated(strdup(arguments[i] + 4));
        else if (strncmp(arguments[i], "marks=", 6) == 0 && read_marks(arguments[i] + 6) != 0)
            return -1;
    }
    if (!out) {
        fputs("the counting plugin: out=FILE is missing\n", stderr);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, seen);
    qemu_plugin_register_atexit_cb(id, ends, NULL);
    return 0;
}
