/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CONFIG_VALUES_H
#define MIGRATE_CONFIG_VALUES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Single values of the configuration, as scalar readers for struct yaml_field: they answer whether
 * text is such a value and store it. Fixed-size destinations are fully bounded by the check.
 */

/* Names of VMs, hosts, sites, networks, paths, disks and NICs: [a-z0-9-]{1,32}, not beginning with
 * '-'. */
#define NAME_SIZE     33
#define NAME_EXPECTED "1 to 32 characters of a-z, 0-9 and -"
bool value_name(const char *text, void *into); /* char[NAME_SIZE] */

/* The network that vNICs, bridges and addresses belong to where no other is named. */
#define DEFAULT_NETWORK "site"

/* A file's name within a folder: [A-Za-z0-9._-]{1,64}, not beginning with a dot or '-'. */
#define FILE_NAME_SIZE	   65
#define FILE_NAME_EXPECTED "a plain file name without slash"
bool value_file_name(const char *text, void *into); /* char[FILE_NAME_SIZE] */

/*
 * A word that is handed to the hypervisor (machine, CPU): [A-Za-z0-9._+-]{1,64}. No comma and no
 * '=', so that it can't bring options of its own.
 */
#define WORD_SIZE     65
#define WORD_EXPECTED "1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '+' and '-'"
bool value_word(const char *text, void *into); /* char[WORD_SIZE] */

/* A network device's name as the kernel takes it, 1 to 15 characters. */
#define DEVICE_NAME_SIZE     16
#define DEVICE_NAME_EXPECTED "a network device's name of at most 15 characters"
bool value_device(const char *text, void *into); /* char[DEVICE_NAME_SIZE] */

#define UUID_EXPECTED "a UUID such as 5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
bool value_uuid(const char *text, void *into); /* char[UUID_SIZE] */

/* Six bytes in hex with colons; one vNIC's own address, so not multicast and not all zeros. */
#define MAC_EXPECTED "a unicast MAC address such as \"52:54:00:eb:00:01\" (in quotes)"
bool value_mac(const char *text, void *into); /* uint8_t[MAC_SIZE] */

#define BOOL_EXPECTED "true or false"
bool value_bool(const char *text, void *into); /* bool */

#define ADDRESS_EXPECTED "an IPv4 or IPv6 address"
bool value_address(const char *text, void *into); /* struct ip_addr, no /prefix */
#define ADDRESS_PREFIX_EXPECTED "an address with its prefix, such as 10.80.1.10/24"
bool value_address_prefix(const char *text, void *into); /* struct ip_addr, /prefix required */

/* No quotes, backslashes and control characters, so that --dump can quote it simply. */
#define PATH_EXPECTED "an absolute path"
bool value_path(const char *text, void *into); /* char *, malloc'ed; frees what was there */

#define RATE_EXPECTED "a rate in bit/s of at least 64k such as 100M"
bool value_rate(const char *text, void *into); /* uint64_t, bit/s, not 0 */

#define DURATION_EXPECTED "a duration such as 20ms, 5s or 2m, of at most 24h"
bool value_duration(const char *text, void *into); /* int64_t, ns, not 0 */
#define DURATION_OR_OFF_EXPECTED "a duration such as 20ms, 5s or 2m, of at most 24h, or off"
bool value_duration_or_off(const char *text, void *into); /* the same; 0: off */

#define AGE_EXPECTED "a duration such as 90m or 168h, of at most 8760h"
bool value_age(const char *text, void *into); /* int64_t, ns, not 0 */

#define ROOM_EXPECTED "a size such as 512M or 8G, or 0"
bool value_room(const char *text, void *into); /* uint64_t, bytes */

#define PORT_EXPECTED "a port from 0 (any free one) to 65535"
bool value_port(const char *text, void *into); /* uint16_t */

#endif
