#!/bin/busybox sh
# The first process of the guest that .ci/test-nic-vm boots: untunes the one NIC there is, applies the
# profile for one data core on CPU 0, undoes it, and compares. Prints `changed: LINE` for each line that
# nic-setup changed, `FAILED: ...` for what did not hold, and `ok` at the end.
# shellcheck shell=sh
export PATH=/bin:/sbin LD_LIBRARY_PATH=/lib64
/bin/busybox mkdir -p /sbin
for applet in $(/bin/busybox --list); do
    [ -e "/bin/$applet" ] || /bin/busybox ln -s busybox "/bin/$applet"
done
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/mod/$module.ko"; done </mod/order
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
for directory in /sys/class/net/*/device; do
    nic=${directory#/sys/class/net/}
    nic=${nic%/device}
done
ip link set "$nic" up

# Everything that can be seen, one thing a line, each with where it comes from. The interrupts of queues
# that were taken away and given back have a new history, but the same place.
seen() {
    for option in -l -g -k -c -a -x --show-priv-flags; do
        ethtool "$option" "$nic" 2>&1 | sed "s/^/[$option] /"
    done
    for flow in tcp4 tcp6; do ethtool -n "$nic" rx-flow-hash "$flow" 2>&1 | sed "s/^/[$flow] /"; done
    for file in mtu napi_defer_hard_irqs gro_flush_timeout; do
        echo "[$file] $(cat "/sys/class/net/$nic/$file")"
    done
    for file in "/sys/class/net/$nic"/queues/tx-*/xps_cpus; do
        echo "[${file#"/sys/class/net/$nic/"}] $(cat "$file" 2>/dev/null)"
    done
    for directory in "/sys/class/net/$nic/device/msi_irqs" "/sys/class/net/$nic/device/../msi_irqs"; do
        for file in "$directory"/*; do
            [ -e "$file" ] || continue
            number=${file##*/}
            name=$(sed -n "s/^ *$number:.* //p" /proc/interrupts)
            [ -z "$name" ] || echo "[irq $name] $(cat "/proc/irq/$number/smp_affinity_list")"
        done
    done
}
fails() { echo "FAILED: $*"; }

seen >/tmp/before
nic-setup "$nic" --cpus 0 --check >/tmp/said 2>&1 && fails "the check finds nothing to do"
nic-setup "$nic" --cpus 0 >/tmp/said 2>&1 || { fails "it is not set"; cat /tmp/said; }
seen >/tmp/during
diff /tmp/before /tmp/during | grep '^[-+]\[' | sed 's/^/changed: /'
cmp -s /tmp/before /tmp/during && fails "nothing was changed"
nic-setup "$nic" --cpus 0 >/tmp/said 2>&1 || fails "a second run fails"
grep -E '^(ethtool|ip|echo) ' /tmp/said && fails "a second run changes something"
nic-setup "$nic" --undo >/tmp/said 2>&1 || { fails "it is not undone"; cat /tmp/said; }
seen >/tmp/after
cmp -s /tmp/before /tmp/after || { fails "not everything is restored"; diff /tmp/before /tmp/after; }
echo ok
poweroff -f
