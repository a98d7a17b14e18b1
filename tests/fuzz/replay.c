/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target's committed inputs through it, without a fuzzer: part of every check.
 *
 * usage: test-fuzz-NAME [FILE|FOLDER]...	without arguments: the target's corpus
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define PROGRAM	   "test-fuzz-"
#define INPUT_MOST (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static size_t runs;

static int run_file(const char *path)
{
	auto_error err = NULL;
	size_t n;
	auto_free char *bytes = read_file(path, INPUT_MOST, &n, &err);
	uint8_t *exact;

	if (!bytes) {
		fprintf(stderr, "%s\n", error_text(err));
		return -1;
	}
	printf("%s (%zu bytes)\n", path, n);
	fflush(stdout);
	/* of its very size, so that reading past its end is noticed */
	exact = malloc(n);
	if (exact) {
		memcpy(exact, bytes, n);
		LLVMFuzzerTestOneInput(exact, n);
	}
	free(exact);
	runs++;
	return 0;
}

static int run_folder(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	char file[PATH_MAX];
	int status = folder ? 0 : -1;

	if (!folder)
		perror(path);
	while (status == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		status = run_file(file);
	}
	if (folder)
		closedir(folder);
	return status;
}

static int run(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? run_folder(path) : run_file(path);
}

/* The corpus of the target that this program is named after, from the root of the tree. */
static int run_corpus(const char *program)
{
	const char *name = strstr(program, PROGRAM);
	char path[PATH_MAX];

	if (!name) {
		fprintf(stderr, "%s: expected a program named %sNAME\n", program, PROGRAM);
		return -1;
	}
	snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", name + strlen(PROGRAM));
	return run(path);
}

int main(int argc, char **argv)
{
	int status = argc > 1 ? 0 : run_corpus(argv[0]);

	for (int i = 1; i < argc && status == 0; i++)
		status = run(argv[i]);
	if (status == 0 && runs == 0)
		fprintf(stderr, "%s: no inputs\n", argv[0]);
	return status == 0 && runs > 0 ? 0 : 1;
}
