package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"unsafe"
)

// primitives is a bcryptprimitives.dll. Go's runtime on Windows takes its random
// numbers from that library, which Wine has only since version 8.17, and Debian 12
// has an older one. All that is in it is one export, ProcessPrng, that Windows' loader
// finds at another library's function of the same form (a forwarder).
func primitives() []byte {
	const (
		headers = 0x200  // of the file, and the section behind them
		section = 0x1000 // where the section lies in memory
	)
	type exports struct {
		Characteristics, TimeDateStamp, Version      uint32
		Name, Base, Functions, Names                 uint32
		FunctionAddress, NameAddress, OrdinalAddress uint32
	}
	const tables = uint32(section + unsafe.Sizeof(exports{})) // one function, one name, one ordinal
	strings := tables + 4 + 4 + 4
	name, target, library := "ProcessPrng\x00", "advapi32.SystemFunction036\x00", "bcryptprimitives.dll\x00"
	targetAt := strings + uint32(len(name))
	libraryAt := targetAt + uint32(len(target))

	var body bytes.Buffer
	put := func(to *bytes.Buffer, values ...any) {
		for _, v := range values {
			_ = binary.Write(to, binary.LittleEndian, v) // a Buffer takes everything of fixed size
		}
	}
	put(&body, exports{
		Name: libraryAt, Base: 1, Functions: 1, Names: 1,
		FunctionAddress: tables, NameAddress: tables + 4, OrdinalAddress: tables + 8,
	}, targetAt, strings, uint32(0), []byte(name+target+library))

	optional := pe.OptionalHeader64{
		Magic: 0x20b, SizeOfInitializedData: headers, ImageBase: 0x6f000000, SectionAlignment: section, FileAlignment: headers,
		MajorOperatingSystemVersion: 6, MajorSubsystemVersion: 6, SizeOfImage: 2 * section, SizeOfHeaders: headers,
		Subsystem: pe.IMAGE_SUBSYSTEM_WINDOWS_GUI, DllCharacteristics: pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
		SizeOfStackReserve: 1 << 20, SizeOfStackCommit: 1 << 12, SizeOfHeapReserve: 1 << 20, SizeOfHeapCommit: 1 << 12,
		NumberOfRvaAndSizes: 16,
	}
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{VirtualAddress: section, Size: uint32(body.Len())}
	edata := pe.SectionHeader32{
		VirtualSize: uint32(body.Len()), VirtualAddress: section, SizeOfRawData: headers, PointerToRawData: headers,
		Characteristics: pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	}
	copy(edata.Name[:], ".edata")

	var file bytes.Buffer
	dos := make([]byte, 64)
	copy(dos, "MZ")
	dos[60] = 64 // where the rest begins
	put(&file, dos, []byte("PE\x00\x00"), pe.FileHeader{
		Machine: pe.IMAGE_FILE_MACHINE_AMD64, NumberOfSections: 1, SizeOfOptionalHeader: uint16(binary.Size(optional)),
		Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
	}, optional, edata)
	file.Write(make([]byte, headers-file.Len()))
	file.Write(body.Bytes())
	file.Write(make([]byte, 2*headers-file.Len()))
	return file.Bytes()
}
